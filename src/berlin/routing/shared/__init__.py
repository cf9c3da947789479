"""Circuits, limits and answers in Redis: the same for all workers and hosts."""
