"""A fake service made from a recipe: what the recipe describes, in reverse."""

from berlin.workbench.fake.play import redirect, whole_urls
from berlin.workbench.fake.server import CREDENTIALS, open_fake

__all__ = ["CREDENTIALS", "open_fake", "redirect", "whole_urls"]
