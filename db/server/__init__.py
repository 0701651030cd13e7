"""The PostgreSQL server: roles, rights, extensions and hardening."""
