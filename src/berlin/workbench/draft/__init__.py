"""Drafts of recipes: from requests sent by a browser or curl, and their responses."""
