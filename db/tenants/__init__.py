"""Tenants: the registry, sign-up, tokens and people."""
