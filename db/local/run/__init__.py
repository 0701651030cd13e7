"""``make run``: everything on one machine."""
