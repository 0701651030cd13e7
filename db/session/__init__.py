"""Database sessions: connections, the tenant transaction, statements, advisory locks and LISTEN."""
