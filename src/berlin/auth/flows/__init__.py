"""The ways to get a credential, one kind a file."""
