"""The command ``python -m db.local``, which ``make run`` runs."""

import argparse
import ctypes
import os
import signal
import sys

import asyncpg
import msgspec

from db.local.processes.launch import PR_SET_PDEATHSIG
from db.local.processes.lock import InUseError
from db.local.processes.process import ProcessError
from db.local.run.environment import ConfigurationError, read_configuration
from db.local.run.home import HomeError
from db.local.run.supervisor import Supervisor
from db.server.version import UnsupportedServerError
from db.settings import SettingsError

_EXPECTED = (
    ConfigurationError,
    HomeError,
    SettingsError,
    InUseError,
    ProcessError,
    UnsupportedServerError,
    asyncpg.PostgresError,
    msgspec.DecodeError,
    OSError,
)


def main() -> int:
    """Run everything until a signal asks to stop.

    Returns:
        The exit code: 0 after an orderly stop, 1 if something could not be started.
    """
    parser = argparse.ArgumentParser(prog="python -m db.local", description="Run Tenantry on this machine.")
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process ends")
    if parser.parse_args().with_parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    try:
        supervisor = Supervisor(read_configuration(os.environ))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.request_stop())
        supervisor.run()
    except _EXPECTED as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
