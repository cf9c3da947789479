"""Observability: log, metrics, traces."""
