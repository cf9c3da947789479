"""What is recorded of a request: log, metrics, traces."""
