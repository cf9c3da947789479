"""Faces: the dialects that the gateway speaks. They do not know each other."""
