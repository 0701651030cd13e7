"""The provisioner: publishes the ledger's messages, and handles the commands among them."""
