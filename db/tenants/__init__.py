"""Tenants: the registry, sign-up, hosts, tokens and people."""
