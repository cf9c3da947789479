"""Commands about the ledger of `berlin serve`."""
