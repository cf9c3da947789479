"""Commands about the gateway: run it, and manage its keys and accounts."""
