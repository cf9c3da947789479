"""Recipes: what one is, those that ship with Berlin, and the provider that one becomes."""
