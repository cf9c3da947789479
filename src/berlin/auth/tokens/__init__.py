"""The life of a token, and where it is kept."""
