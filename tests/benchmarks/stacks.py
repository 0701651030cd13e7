"""Stacks: what answers the same requests, each as one process of one worker."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from db.local.processes.process import Process, output_of
from db.local.processes.waiting import free_port
from db.local.run import programs
from db.settings import PROJECT, Settings
from tests.benchmarks import shops
from tests.benchmarks.client import Target
from tests.benchmarks.domain import BODY, PATH
from tests.benchmarks.fleet import Member
from tests.processes import environment

_VENV: Final = PROJECT / ".cache" / "bench" / "venv"
_DONE: Final = PROJECT / ".cache" / "bench" / ".locked"
_OTHERS: Final = Path(__file__).parent / "others"
_LOOP: Final = "uvloop" if find_spec("uvloop") else "asyncio"
_HOST: Final = "127.0.0.1"
_PACKAGES: Final = (
    *("litestar", "advanced-alchemy", "sqlalchemy", "asyncpg", "psycopg", "granian"),
    *("fastapi", "uvicorn", "uvloop", "django", "django-tenants", "gunicorn"),
)
_PLENTY: Final = 1_000_000_000
"""A rate limit that is counted and never reached."""


class Stack(msgspec.Struct, frozen=True):
    """A program that answers."""

    name: str
    process: Process
    port: int
    targets: list[Target]
    path: str = PATH
    body: dict[str, Any] = msgspec.field(default_factory=BODY.copy)


def tenantry(config: Settings, home: Path, fleet: Sequence[Member], *, limits: bool = False) -> Stack:
    """Tenantry complete, as `make run` serves it. Without rate limits, which would refuse what is measured.

    Args:
        config: settings; the API's own limits but those on rates are as they come.
        home: where its log goes.
        fleet: whose requests come.
        limits: whether rates are counted, against a limit that is out of reach.
    """
    name = "Tenantry, rates limited" if limits else "Tenantry"
    rate = _PLENTY if limits else 0
    own = msgspec.structs.replace(config, log_level="error", rate_limit_per_minute=rate)
    port = free_port()
    targets = [member.target() for member in fleet]
    return Stack(name, _process(name, programs.granian(port, 1), environment(own), home), port, targets)


def ceiling(name: str, module: str, config: Settings, home: Path, first: Member, rows: int) -> Stack:
    """A ceiling, served as the API is, on the schema of one tenant."""
    port = free_port()
    command = programs.granian(port, 1, f"tests.benchmarks.ceilings.{module}:app")
    given = {**environment(config), "SCHEMA": first.schema, "MARK": first.mark}
    return Stack(
        name,
        _process(module, command, given, home),
        port,
        [first.target(row=row) for row in range(1, rows + 1)],
    )


def ceilings(config: Settings, home: Path, first: Member, rows: int) -> list[Stack]:
    """All ceilings; the one that ratios are made with comes first.

    Args:
        config: settings, for the database's address.
        home: where logs go.
        first: the tenant whose schema they use.
        rows: how many of its rows are asked for in turn, so that changes of one row need not wait for each other.
    """
    named = {
        "litestar_asyncpg": "ceiling: Litestar + asyncpg, one schema",
        "raw_asgi": "raw ASGI + asyncpg, one schema",
        "litestar_bare": "Litestar without a database",
    }
    return [ceiling(name, module, config, home, first, rows) for module, name in named.items()]


def have_others() -> bool:
    """Return whether `make bench` could install what others need."""
    return _DONE.is_file()


def versions_of_others() -> dict[str, str]:
    """Return the versions of what people use, if it is installed."""
    if not have_others():
        return {}
    program = (
        "import importlib.metadata, json;"
        "print(json.dumps({one.name.lower(): one.version for one in importlib.metadata.distributions()}))"
    )
    command = [str(_VENV / "bin" / "python"), "-c", program]
    versions = json.loads(output_of(command, environment=dict(os.environ), timeout=60))
    return {name: versions[name] for name in _PACKAGES if name in versions}


def others(url: str, home: Path, count: int) -> list[Stack]:
    """What people use, each with one worker as its documentation recommends, and without tokens.

    Args:
        url: the database that `shops.make` made.
        home: where logs go.
        count: how many tenants it has.
    """
    granian = [
        *("granian", "--interface", "asgi", "--no-ws", "--loop", _LOOP, "--workers", "1"),
        *("--host", _HOST, "--port", "PORT", "litestar_orm:app"),
    ]
    uvicorn = ["uvicorn", "--host", _HOST, "--port", "PORT", "--no-access-log", "fastapi_lookup:app"]
    gunicorn = [
        *("gunicorn", "--bind", f"{_HOST}:PORT", "--workers", "1", "--worker-class", "gthread"),
        *("--threads", "4", "--keep-alive", "75", "shops.wsgi:application"),
    ]
    return [
        _other("Litestar + SQLAlchemy ORM", granian, url, home, count),
        _other("FastAPI + SQLAlchemy, look-up", uvicorn, url, home, count),
        _other("django-tenants, gunicorn", gunicorn, url, home, count),
    ]


def _other(name: str, command: list[str], url: str, home: Path, count: int) -> Stack:
    port = free_port()
    words = [word.replace("PORT", str(port)) for word in command]
    given = {**environment(Settings()), "SHOPS_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
    process = _process(
        command[0], [str(_VENV / "bin" / "python"), "-m", *words], given, home, directory=_OTHERS
    )
    return Stack(name, process, port, shops.targets(count), shops.PATH, shops.BODY)


def _process(
    name: str, command: list[str], given: dict[str, str], home: Path, *, directory: Path = PROJECT
) -> Process:
    log = home / f"{name.partition(',')[0].lower()}-{name.count(',')}.log"
    return Process(name, command, environment=given, log=log, directory=directory)
