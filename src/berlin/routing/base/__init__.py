"""Building blocks of the wrappers."""
