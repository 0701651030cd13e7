"""Models: the tables of the schema ``shared``, and the house's tables in each tenant's schema.

Models describe tables for statements and for autogenerate. Migrations create the tables.
"""
