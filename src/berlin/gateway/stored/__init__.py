"""Responses that clients may come back to: in memory, in a file or in Redis."""
