"""Models: ``shared`` for the registry and its neighbours, ``tenant`` for what every tenant has.

They describe tables for statements and for autogenerate; tables themselves come from migrations.
"""
