"""The processes of Tenantry's two programs: the API and the provisioner."""

import sys

from db.local.processes.process import Process
from db.local.processes.waiting import LOOPBACK
from db.local.run.environment import Configuration
from db.local.run.home import Home
from db.settings import PROJECT

_API_GRACE, _PROVISIONER_GRACE = 15.0, 30.0  # seconds; more than each program's own limit
_WORKER_GRACE = 10


def api(configuration: Configuration, home: Home, port: int, app_url: str) -> Process:
    """Return the process of granian, which starts, restarts and stops the API's workers.

    `litestar run` would put another process in between.
    """
    command = granian(port, configuration.workers)
    return _program("api", command, configuration.api(app_url), home, _API_GRACE)


def granian(port: int, workers: int, application: str = "api.app:create_app") -> list[str]:
    """Return granian's command line; the benchmark serves what it compares the API with by the same."""
    return [
        *(sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--no-ws"),
        *("--host", LOOPBACK, "--port", str(port), "--workers", str(workers)),
        *("--respawn-failed-workers", "--respawn-interval", "0.2"),
        *("--workers-kill-timeout", str(_WORKER_GRACE)),
        application,
    ]


def provisioner(
    configuration: Configuration, home: Home, owner_url: str, app_url: str, amqp_url: str | None
) -> Process:
    """Return the provisioner's process. If ``amqp_url`` is None, it delivers messages in process."""
    command = [sys.executable, "-m", "provisioner"]
    environment = configuration.provisioner(owner_url, app_url, amqp_url)
    return _program("provisioner", command, environment, home, _PROVISIONER_GRACE)


def _program(name: str, command: list[str], environment: dict[str, str], home: Home, grace: float) -> Process:
    return Process(
        name,
        command,
        environment={**environment, "PYTHONUNBUFFERED": "1"},
        log=home.log(name),
        directory=PROJECT,
        grace=grace,
    )
