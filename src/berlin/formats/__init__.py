"""Dialects, read and written from both ends: one folder each, the same file names in each."""
