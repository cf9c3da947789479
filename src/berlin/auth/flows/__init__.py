"""The authentication flows, one per file."""
