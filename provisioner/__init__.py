"""Messages: the relay that publishes the ledger, and the consumer that does what commands ask."""
