"""The tables `[models.NAME]`: their schema, and the providers made from them."""
