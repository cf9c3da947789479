"""Continues the conversations that a service keeps, and never mixes two of them."""

from berlin.routing.conversations.memory import MemoryHeads
from berlin.routing.conversations.provider import Conversations
from berlin.routing.conversations.store import Head, Heads

__all__ = ["Conversations", "Head", "Heads", "MemoryHeads"]
