"""The database layer: settings, names, models, sessions, the ledger, the registry and migrations.

Nothing here uses HTTP or AMQP. A function that takes ``connection`` runs in the caller's transaction, if
there is one, and never commits it.
"""
