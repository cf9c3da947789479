"""The command line: shows a provider to a person. One command a file; nothing heavy at import."""
