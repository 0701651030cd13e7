"""The relay: from the ledger to the broker."""
