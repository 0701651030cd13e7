"""The relay: publishes messages from the ledger to the broker."""
