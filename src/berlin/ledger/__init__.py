"""The ledger: who asked which model when, how many tokens it took, and what it cost."""
