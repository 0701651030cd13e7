"""`make run`, as its user meets it: the supervisor in a process of its own, in a home of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from db.local.processes.waiting import free_port, wait_until
from db.local.servers.installation import HIDE

PROJECT = Path(__file__).parents[1]
ADDRESSES = ("DATABASE_URL", "OWNER_DATABASE_URL", "SUPERUSER_DATABASE_URL", "AMQP_URL")


class Run:
    """One `make run` on ``home``; ``environment`` goes over the suite's own, without its addresses."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.output = home.with_name(f"{home.name}.out")
        inherited = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
        self.environment = {
            **inherited,
            "TENANTRY_HOME": str(home),
            "PORT": str(self.port),
            HIDE: "1",  # starts in a second; the node has a test of its own
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._left: dict[str, Any] = {}
        self._told = 0

    def start(self) -> None:
        self._left = self.state  # what a killed predecessor left says nothing of this run
        self._told = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "db.local"],
                cwd=PROJECT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def state(self) -> dict[str, Any]:
        """What run.json says now; nothing while this run has not written it."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.home / "run.json").read_text())
            if found != self._left:
                return found
        return {}

    @property
    def told(self) -> str:
        """What it has written since its last start."""
        return self.output.read_bytes()[self._told :].decode()

    def until_up(self) -> dict[str, Any]:
        """Wait until it shows the lines to paste, its last act; return its state."""

        def shown() -> bool:
            return "Ctrl-C stops everything" in self.told or self.process.poll() is not None

        assert wait_until(shown, 90), self.told
        assert self.process.poll() is None, self.told
        return self.state

    def family(self) -> list[psutil.Process]:
        """The supervisor and all that it started."""
        leader = psutil.Process(self.process.pid)
        return [leader, *leader.children(recursive=True)]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def end(self) -> None:
        """Stop everything, however the test ended: in good order, else by force."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(signal.SIGTERM)
                return
            for member in self.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            self._process.wait(10)


@contextlib.contextmanager
def running(home: Path) -> Iterator[Run]:
    """A run on ``home``: started, and stopped at the end even if the test fails."""
    run = Run(home)
    run.start()
    try:
        yield run
    finally:
        run.end()


def asked(state: dict[str, Any], method: str, path: str, body: object = None) -> Any:
    """Send the first tenant's request, which must succeed, and return what is answered."""
    tenant = state["tenant"]
    headers = {"tenant": tenant["slug"], "Authorization": f"Bearer {tenant['api_key']}"}
    answer = httpx.request(method, f"{state['api']}{path}", headers=headers, json=body, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()


def listed(state: dict[str, Any], path: str, field: str) -> list[str]:
    """Return a field of each row of one of the first tenant's lists."""
    return [row[field] for row in asked(state, "GET", path)["items"]]


def pasted(run: Run, title: str) -> Any:
    """Run the command that the terminal shows below a title, as pasted, and return its answer."""
    lines = run.told.splitlines()
    command = lines[next(at for at, line in enumerate(lines) if line.startswith(title)) + 1]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    remaining = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                remaining.append(process)
    return remaining
