"""Providers: whatever answers a request with a stream of events."""
