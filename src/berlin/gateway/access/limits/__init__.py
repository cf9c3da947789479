"""Budgets and rates of keys, users and models."""
