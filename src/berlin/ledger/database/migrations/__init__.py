"""Migrations of the ledger's tables. They only add, so that an older release can go on writing."""
