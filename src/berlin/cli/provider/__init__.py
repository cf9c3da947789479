"""Commands about providers: add, log in, list, check, remove."""
