"""Dialects, encoded and decoded in both directions: one folder each, with the same file names."""
