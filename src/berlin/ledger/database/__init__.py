"""The database of the ledger. Only this room imports SQLAlchemy, and only where it is used."""
