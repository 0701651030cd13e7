"""Memory of an API worker and of its PostgreSQL backends, once they have served all tenants."""

from contextlib import suppress
from typing import Final

import asyncpg
import psutil  # type: ignore[import-untyped]

from db.local.processes.process import relatives
from tests.benchmarks import loads
from tests.benchmarks.client import Job
from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.servers import Servers
from tests.benchmarks.stacks import Stack

_PASSES: Final = 3
"""Times that each tenant is met, so that several backends meet it."""
_MB: Final = 1 << 20


async def measure(servers: Servers, stack: Stack, job: Job, section: str) -> list[Figure]:
    """Ask each tenant, then look: the worker's own share of memory, all backends', and the largest one's.

    Shared pages count in parts (PSS) for the worker. Of backends only their own pages count (USS): the rest is
    the server's cache of pages.
    """
    for _ in range(_PASSES):
        await loads.run(loads.once(job))
    assert stack.process.pid is not None
    owner = await asyncpg.connect(servers.superuser_url)
    try:
        rows = await owner.fetch("SELECT pid FROM pg_stat_activity WHERE usename = 'tenantry_app'")
    finally:
        await owner.close()
    worker = max((_pss(process) for process in relatives(stack.process.pid)), default=0.0)
    backends = [_uss(psutil.Process(row["pid"])) for row in rows]
    lines = {
        "worker (PSS)": worker,
        f"{len(backends)} backends (own pages)": sum(backends),
        "the largest of them": max(backends, default=0.0),
    }
    return [figure(section, what, {"megabytes": [value]}) for what, value in lines.items()]


def _pss(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        found = process.memory_full_info()
        return float(getattr(found, "pss", found.uss)) / _MB
    return 0.0


def _uss(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.memory_full_info().uss) / _MB
    return 0.0
