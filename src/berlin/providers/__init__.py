"""Providers: objects that answer a request with a stream of events."""
