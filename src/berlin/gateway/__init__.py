"""The gateway: serves a provider to other programs, in several dialects ("faces")."""
