"""Commands about the gateway: serve it, and say who may use it."""
