"""Providers made of providers: retry, health."""
