"""A fake service made from a recipe: what the recipe describes, in reverse."""

from berlin.workbench.fake.server import CREDENTIALS, open_fake
from berlin.workbench.fake.where import redirect, whole_urls

__all__ = ["CREDENTIALS", "open_fake", "redirect", "whole_urls"]
