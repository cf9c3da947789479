"""Several processes that serve as one gateway: the parent, its workers, and what they share."""
