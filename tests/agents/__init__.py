"""Unmodified coding agents fix a bug through a chat service that knows only text: `make agents`."""
