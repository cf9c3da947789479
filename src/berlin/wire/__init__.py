"""Bytes and values: framings, JSON, WebSocket protocols. No I/O: no network and no event loop."""
