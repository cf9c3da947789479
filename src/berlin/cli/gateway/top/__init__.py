"""`berlin top`: a live view of a gateway, from its metrics."""
