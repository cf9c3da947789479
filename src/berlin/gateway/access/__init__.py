"""Access control: authentication, rate limits and admission."""
