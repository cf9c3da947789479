"""API keys in PostgreSQL, for gateways on several machines."""
