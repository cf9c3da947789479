"""The built-in guide: answers questions about Berlin from its own manual, without a network."""

from berlin.providers.guide.provider import GuideProvider, answer
from berlin.providers.guide.sections import split_sections

__all__ = ["GuideProvider", "answer", "split_sections"]
