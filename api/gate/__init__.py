"""The gate: who may call what, and how much of it."""
