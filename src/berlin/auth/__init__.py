"""Authentication: how a token is got, kept, used, refused, and got again."""
