"""Spawning and ending of child processes and their descendants."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil  # type: ignore[import-untyped]

from db.local.processes.account import Account
from db.local.processes.private import append_private
from db.local.processes.waiting import wait_until

_LAUNCHER = Path(__file__).with_name("launch.py")
_KILL_TIMEOUT = 10.0
_LOG_LIMIT = 10_000_000

# Linux sends the death signal when the *thread* that spawned the child ends, so this thread never ends.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessError(RuntimeError):
    """A program could not be started, failed, or did not end."""


class Service(Protocol):
    """A server or program that the supervisor keeps running."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def alive(self) -> bool: ...
    @property
    def log(self) -> Path: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Process:
    """A program that runs in a session of its own, writes to a log file and ends with this process.

    Args:
        name: the program's name in messages.
        command: the program and its arguments.
        environment: the program's whole environment.
        log: the file to which output is appended; a file over 10 MB is rotated at start.
        directory: the working directory; this process's by default.
        account: the user to run the program as; this process's by default.
        stop_signal: the signal that asks the program to end; it is also sent if this process dies.
        grace: seconds that the program may take to end before it is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        directory: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 15.0,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self._directory = directory
        self._account = account
        self._stop_signal = stop_signal
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None
        self._reaping = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, or None if the program does not run."""
        return self._child.pid if self._child is not None and self.alive else None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative if a signal ended the program. None if it runs or was never started."""
        return None if self._child is None else self._child.returncode

    @property
    def alive(self) -> bool:
        """Whether the program runs. If it has just ended, the rest of its process group is killed."""
        child = self._child
        if child is None:
            return False
        with self._reaping:
            if child.returncode is None and _has_ended(child.pid):
                # The leader is not reaped yet, so its id cannot belong to another group.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            return child.returncode is None

    def start(self) -> None:
        """Start the program, unless it runs.

        Raises:
            ProcessError: the program could not be started.
        """
        if not self.alive:
            _spawner.submit(self._spawn).result()

    def stop(self) -> None:
        """Ask the program to end, and kill it if it takes longer than its grace.

        Raises:
            ProcessError: the program cannot be killed.
        """
        self._end(self._stop_signal, self._grace)

    def kill(self) -> None:
        """Kill the program and all its descendants.

        Raises:
            ProcessError: the program cannot be killed.
        """
        self._end(signal.SIGKILL, 0.0)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the program's log."""
        return tail(self.log, lines)

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".1.log"))
        account = self._account
        user = ("-1", "-1", "plain") if account is None else account.arguments
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(int(self._stop_signal)), str(os.getpid())]
        with append_private(self.log) as log:
            try:
                self._child = subprocess.Popen(
                    [*launch, *user, *self.command],
                    env=self.environment,
                    cwd=self._directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessError(f"{self.name} could not be started: {error}") from error

    def _end(self, number: signal.Signals, grace: float) -> None:
        if self._child is None or not self.alive:
            return
        family = relatives(self._child.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, number)
        if number is not signal.SIGKILL and wait_until(lambda: not self.alive, grace):
            family = [member for member in family if member.is_running()]
        end_all(family)
        if not wait_until(lambda: not self.alive, _KILL_TIMEOUT):
            raise ProcessError(f"{self.name} (process {self._child.pid}) cannot be killed")


def output_of(
    command: Sequence[str], *, environment: Mapping[str, str], timeout: float, directory: Path | None = None
) -> str:
    """Run a tool to its end, and return its standard output.

    Args:
        command: the tool and its arguments.
        environment: the tool's whole environment.
        timeout: seconds that the tool may take.
        directory: the working directory; this process's by default.

    Raises:
        ProcessError: the tool failed, or took longer than ``timeout``.
    """
    told = f"{Path(command[0]).name} {next((word for word in command[1:] if word[:1] != '-'), '')}".rstrip()
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=timeout,
        )
    except subprocess.CalledProcessError as error:
        raise ProcessError(f"{told} failed: {(error.stderr or error.stdout).strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{told} took more than {error.timeout} s") from error
    return done.stdout


def relatives(pid: int) -> list[psutil.Process]:
    """Return the process ``pid`` and all its descendants, or an empty list if it does not exist."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def working_in(directory: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is ``directory``: a server and its children."""
    place = str(directory.resolve())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == place:
                found.append(process)
    return found


def group_of(leader: int, before: float) -> list[psutil.Process]:
    """Return the processes of the group ``leader`` that were started by the time ``before``.

    Args:
        leader: the id of the process group, which another group may have by now.
        before: seconds since the epoch; processes that were started later belong to another group.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and process.create_time() <= before:
                found.append(process)
    return found


def end_all(processes: Iterable[psutil.Process], *, grace: float = 0.0) -> None:
    """End processes with SIGTERM, and after ``grace`` seconds with SIGKILL. If ``grace`` is 0, skip SIGTERM.

    Raises:
        ProcessError: some processes still run after SIGKILL.
    """
    remaining = list(processes)
    for number, timeout in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_TIMEOUT)):
        if timeout == 0:
            continue
        for process in remaining:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        wait_until(partial(_all_gone, remaining), timeout)
        remaining = [process for process in remaining if not _all_gone([process])]
    if remaining:
        raise ProcessError(f"cannot be killed: {', '.join(str(process.pid) for process in remaining)}")


def tail(log: Path, lines: int = 15) -> str:
    """Return the last ``lines`` lines of a log file, or an empty text if it cannot be read."""
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    return ""


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _all_gone(processes: Iterable[psutil.Process]) -> bool:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True
