"""Counts what limits allow: in this process, on this machine, or over all replicas."""
