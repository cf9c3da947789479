"""Drafts of recipes: from what a browser or curl has sent, and what came back."""
