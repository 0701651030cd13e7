"""The ledger: the table of all messages, outbox and inbox in one."""
