"""Recipes: the type, those that ship with Berlin, and the provider built from one."""
