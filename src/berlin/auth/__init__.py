"""Authentication: how a token is obtained, kept, used, rejected and renewed."""
