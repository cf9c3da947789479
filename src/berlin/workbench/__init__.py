"""Tools for recipe authors: explain a recipe, try it, find its mistake, record it, draft one."""
