"""The life cycle of a token, and the stores that keep it."""
