"""What the wrappers are made of."""
