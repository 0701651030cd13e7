"""Migrations: two lineages of Alembic revisions, rendered once and run as one script for each schema."""
