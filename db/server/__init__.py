"""The PostgreSQL server: roles, rights and hardening."""
