"""The command line. One command per file; nothing heavy is imported at start."""
