"""The ground floor: settings, names, contracts, models, ledger, registry and migrations.

Nothing here knows HTTP or AMQP. A function that takes ``connection`` runs inside the caller's
transaction and never commits it.
"""
