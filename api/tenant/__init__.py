"""Routes of the house's own resources: sign-up, log-in, users, roles, permissions and keys. One file each."""
