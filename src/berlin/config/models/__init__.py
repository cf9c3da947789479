"""The tables `[models.NAME]`: what they say, and the providers that they make."""
