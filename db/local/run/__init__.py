"""``make run``: all of Tenantry on one machine."""
