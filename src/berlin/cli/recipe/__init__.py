"""`berlin recipe`: the commands for authors of recipes."""
