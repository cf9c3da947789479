"""Tokens of identity providers (JWT) in place of keys."""
