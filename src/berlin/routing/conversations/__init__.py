"""Continues conversations kept by a service, and never mixes two of them."""

from berlin.routing.conversations.memory import MemoryHeads
from berlin.routing.conversations.provider import Conversations
from berlin.routing.conversations.store import Head, Heads

__all__ = ["Conversations", "Head", "Heads", "MemoryHeads"]
