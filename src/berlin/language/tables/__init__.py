"""The tables of a recipe: what it may say, checked when it is read."""
