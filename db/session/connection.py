"""Connections: what is meant by one, and how a provisioner's are set up."""

from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""asyncpg's own, or a pool's stand-in for it."""

SESSION: Final = {
    # Whose process is gone gives its locks up, even in the middle of a long statement; and whose machine is.
    "client_connection_check_interval": "500ms",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",  # no probe is sent while an answer is on its way
}
"""Settings of a session that holds advisory locks (PostgreSQL manual, Connection Settings)."""
