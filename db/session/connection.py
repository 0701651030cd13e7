"""The type of a connection, and the settings of a provisioner's connections."""

from typing import Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection of asyncpg, or a pool's proxy for one."""

SESSION: Final = {
    # If the client's process or machine is gone, its locks are released, even during a long statement.
    "client_connection_check_interval": "500ms",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",  # keepalive probes are not sent while data is unacknowledged
}
"""Server settings of a session that holds advisory locks (PostgreSQL manual, Connection Settings)."""
