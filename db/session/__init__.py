"""Sessions: connections, the tenant transaction, statements, advisory locks and LISTEN."""
