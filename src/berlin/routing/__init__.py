"""Providers made of providers: retry, fallback, breaker, limit, balance, pool, hedge, cache."""
