"""The format that a recipe describes."""
