"""Stored responses that clients may refer to: in memory, in a file or in Redis."""
