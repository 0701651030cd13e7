"""A private RabbitMQ node, independent of other nodes on the machine."""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from db.local.processes.lock import DirectoryLock
from db.local.processes.private import write_private
from db.local.processes.process import Process, ProcessError, end_all, output_of, working_in
from db.local.processes.waiting import LOOPBACK, free_port, wait_until
from db.local.servers.installation import Installation, get_installation

__all__ = ["Installation", "RabbitNode", "get_installation"]

USER = "tenantry"
SIGNUP_USER = "tenantry_signup"
SIGNUP_PERMISSIONS = {
    "configure": r"^signup\.",
    "write": r"^(tenantry\.signup$|signup\.)",
    "read": r"^(tenantry\.events$|signup\.)",
}
"""What a sign-up flow may do: publish sign-ups, and hear events through queues of its own, named ``signup.…``."""

_START_TIMEOUT = 90.0
_STOP_TIMEOUT = 30.0
_CONTROL_TIMEOUT = 60.0
_TOLD_LINES = 80  # Erlang reports the cause first, and then everything around it
_NO_PATH = re.compile(r"""['\"\\`$\n\r]""")
_NODE = "tenantry@localhost"  # names are unique within an epmd, and each node has an epmd of its own
_VHOST = "/"
_DEFINITIONS = "definitions.json"
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitNode:
    """A node with its data in ``home`` and an ``epmd`` of its own. Both listen on loopback only.

    The node's ports stay the same after a restart.

    Args:
        home: the directory for data, log and lock, which is made if it does not exist.
        installation: the server to run; see `get_installation`.
        port: the AMQP port; a free one by default.
        config: entries of ``rabbitmq.conf`` in place of this class's defaults, such as ``consumer_timeout``
            (milliseconds) or ``heartbeat`` (seconds).
        log: the file for the node's output; ``rabbitmq.log`` in ``home`` by default.
        signup_password: the password of the user for sign-up flows; without one there is no such user.
    """

    name = "rabbitmq"

    def __init__(
        self,
        home: Path,
        installation: Installation,
        port: int | None = None,
        *,
        config: Mapping[str, str] | None = None,
        log: Path | None = None,
        signup_password: str | None = None,
    ) -> None:
        self.home = home.resolve()
        if _NO_PATH.search(str(self.home)):
            raise ProcessError(
                f"RabbitMQ cannot run in {str(self.home)!r}: its scripts take no quote, backslash, dollar sign or "
                "line end in a path; choose another directory"
            )
        self.log = log or self.home / "rabbitmq.log"
        self.port = port or free_port()
        self._installation = installation
        self._config = dict(config or {})
        self._signup_password = signup_password
        self._epmd_port = free_port()
        self._distribution_port = free_port()
        self._lock = DirectoryLock(self.home, "a RabbitMQ node runs on it")
        environment = self._environment()
        self._epmd = Process(
            "epmd",
            [str(installation.erlang / "epmd"), "-port", str(self._epmd_port), "-address", LOOPBACK],
            environment=environment,
            log=self.home / "epmd.log",
            directory=self.home,
        )
        self._node = Process(
            self.name,
            [str(installation.scripts / "rabbitmq-server")],
            environment=environment,
            log=self.log,
            directory=self.home,
            grace=_STOP_TIMEOUT,
        )

    @property
    def pid(self) -> int | None:
        """The process id of the node's Erlang machine, or None if it does not run."""
        return self._node.pid

    @property
    def alive(self) -> bool:
        """Whether the node's Erlang machine runs."""
        return self._node.alive

    @property
    def url(self) -> str:
        """The node's address, as ``amqp://user:password@host:port/``."""
        return f"amqp://{USER}:{self._password()}@{LOOPBACK}:{self.port}/"

    @property
    def signup_url(self) -> str | None:
        """The node's address for sign-up flows, or None if they have no user."""
        if self._signup_password is None:
            return None
        return f"amqp://{SIGNUP_USER}:{self._signup_password}@{LOOPBACK}:{self.port}/"

    def start(self) -> None:
        """Start the node with its earlier queues and messages, and wait until its AMQP port answers.

        Processes that a killed node left on the same data are ended first.

        Raises:
            ProcessError: the node did not start; the message ends with its log.
            InUseError: another process runs a node on ``home``.
        """
        if self.alive:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        self._epmd.stop()
        # This object holds the lock, so processes in this directory have no supervisor.
        end_all(working_in(self.home), grace=_STOP_TIMEOUT)
        self._write_configuration()
        self._epmd.start()
        self._node.start()
        wait_until(lambda: self._answers() or not self.alive, _START_TIMEOUT, interval=0.1)
        if not self._answers():
            self.kill()
            raise ProcessError(
                f"RabbitMQ did not start; {self.log} ends with:\n{self._node.tail(_TOLD_LINES)}"
            )

    def stop(self) -> None:
        """Stop the node in an orderly way, and then its ``epmd``."""
        self._node.stop()
        self._end()

    def kill(self) -> None:
        """Kill the node and all its processes, as a crash of the machine would."""
        self._node.kill()
        self._end()

    def wipe(self) -> None:
        """Delete the data of the stopped node, as the loss of its disk would.

        Raises:
            ProcessError: the node runs.
        """
        if self.alive:
            raise ProcessError("the node must be stopped before its data is deleted")
        shutil.rmtree(self.home / "mnesia", ignore_errors=True)

    def sync(self) -> None:
        """Make the node write to disk at once which quorum queues it serves.

        By itself it does so within half a second of a declaration. A node that is killed before has the queue
        and its messages on disk, but does not serve them after its restart (seen with 3.10).

        Raises:
            ProcessError: the node does not answer.
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this node.

        Args:
            arguments: the command and its options, such as ``"list_queues", "name", "messages"``.

        Returns:
            The command's standard output.

        Raises:
            ProcessError: the command failed, or took longer than a minute.
        """
        return output_of(
            [str(self._installation.scripts / "rabbitmqctl"), "--quiet", *arguments],
            environment=self._environment(),
            timeout=_CONTROL_TIMEOUT,
            directory=Path("/"),
        )

    def _end(self) -> None:
        self._epmd.stop()
        if self.home.is_dir():
            end_all(working_in(self.home))  # helpers of the ended node that are still running
        self._lock.release()

    def _password(self) -> str:
        file = self.home / "password"
        if not file.is_file():
            self.home.mkdir(parents=True, exist_ok=True)
            write_private(file, secrets.token_hex(24))
        return file.read_text(encoding="utf-8")

    def _answers(self) -> bool:
        # A server that is ready answers the header with Connection.Start (AMQP 0-9-1, section 2.2.4).
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=2) as peer:
            peer.settimeout(2)
            peer.sendall(_PROTOCOL_HEADER)
            return peer.recv(1) == b"\x01"
        return False

    def _write_configuration(self) -> None:
        entries = {
            "listeners.tcp.local": f"{LOOPBACK}:{self.port}",
            "load_definitions": _DEFINITIONS,  # relative to the node's directory; read at each start
            "disk_free_limit.absolute": "50MB",
            "vm_memory_high_watermark.absolute": "512MB",
            "raft.wal_max_size_bytes": "33554432",
            **self._config,
        }
        text = "".join(f"{name} = {value}\n" for name, value in entries.items())
        write_private(self.home / "rabbitmq.conf", text)
        write_private(self.home / "enabled_plugins", "[].\n")
        write_private(self.home / _DEFINITIONS, json.dumps(self._definitions()))

    def _definitions(self) -> dict[str, object]:
        """Return the node's users and their rights (RabbitMQ manual, "Definitions"). Others that exist stay."""
        everything = dict.fromkeys(SIGNUP_PERMISSIONS, ".*")
        users = [(USER, self._password(), "administrator", everything)]
        if self._signup_password is not None:
            users.append((SIGNUP_USER, self._signup_password, "", SIGNUP_PERMISSIONS))
        return {
            "vhosts": [{"name": _VHOST}],
            "users": [
                {"name": name, "password": password, "tags": tags} for name, password, tags, _ in users
            ],
            "permissions": [{"user": name, "vhost": _VHOST, **rights} for name, *_, rights in users],
        }

    def _environment(self) -> dict[str, str]:
        """Return the scripts' variables (RabbitMQ manual, "Configuration"). All their paths are in ``home``."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        own = {
            "HOME": self.home,  # holds the Erlang cookie
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP_SECONDS": 0,  # no dump
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._distribution_port,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": self.home / "rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": self.home / "advanced",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.home / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": self.home / "mnesia",
            "RABBITMQ_SCHEMA_DIR": self.home / "schema",
            "RABBITMQ_GENERATED_CONFIG_DIR": self.home / "generated",
            "RABBITMQ_LOG_BASE": self.home / "log",
            "RABBITMQ_LOGS": "-",  # to standard output, which is the log file
            "RABBITMQ_PID_FILE": self.home / "node.pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            "detached": "1",  # the node replaces the script, which would wait for it otherwise
        }
        return self._installation.environment({**inherited, **{name: str(own[name]) for name in own}})
