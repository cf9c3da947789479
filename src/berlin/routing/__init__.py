"""Composed providers: retry, fallback, breaker, limit, balance, pool, hedge, cache."""
