"""Where a RabbitMQ server and the Erlang that runs it are installed."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HIDE = "TENANTRY_HIDE_RABBITMQ"


class Installation(NamedTuple):
    """An installed RabbitMQ server.

    ``scripts`` holds its own ``rabbitmq-server`` and ``rabbitmqctl`` (not the wrappers of a package),
    ``erlang`` holds ``erl`` and ``epmd``, ``libraries`` are directories of shared libraries beyond the
    system's that Erlang needs.
    """

    scripts: Path
    erlang: Path
    libraries: tuple[Path, ...] = ()

    @property
    def version(self) -> str:
        """The server's version, such as ``3.10.8``; an empty text where its folder does not say."""
        found = re.search(r"rabbitmq_server-([\w.]+)", str(self.scripts.resolve()))
        return found.group(1) if found else ""

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return ``given`` with what the server's scripts need to find Erlang and its libraries."""
        path = [str(self.erlang), *filter(None, [given.get("PATH", os.defpath)])]
        libraries = [*map(str, self.libraries), *filter(None, [given.get("LD_LIBRARY_PATH", "")])]
        added = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}
        return {**given, "PATH": os.pathsep.join(path), **added}


def get_installation() -> Installation | None:
    """Find a RabbitMQ server that is installed on this machine.

    Returns:
        None if there is none, or if the environment says ``TENANTRY_HIDE_RABBITMQ=1``.
    """
    if os.environ.get(HIDE, "") not in {"", "0"}:
        return None
    erlang = get_erlang()
    if erlang is None:
        return None
    return next(
        (Installation(scripts, erlang) for scripts in _script_directories() if _usable(scripts)), None
    )


def get_erlang() -> Path | None:
    """Find the directory that holds both ``erl`` and ``epmd``; None if there is none."""
    erl = shutil.which("erl", path=f"{os.environ.get('PATH', os.defpath)}:/usr/lib/erlang/bin")
    if erl is None:
        return None
    places = (Path(erl).parent, Path(erl).resolve().parent)
    return next((place for place in places if (place / "epmd").is_file()), None)


def _script_directories() -> Iterator[Path]:
    command = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if command is not None:
        yield Path(command).resolve().parent  # a plain archive's, or a package manager's link to it
    for root in ("/usr/lib/rabbitmq", "/opt/rabbitmq", "/usr/local/lib/rabbitmq"):
        found = sorted(Path(root).glob("lib/rabbitmq_server-*/sbin"), key=_version_key, reverse=True)
        yield from (*found, Path(root) / "sbin")


def _version_key(scripts: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", scripts.parent.name)]


def _usable(scripts: Path) -> bool:
    # A wrapper's folder lacks the plugins beside it.
    return (scripts / "rabbitmq-server").is_file() and (scripts.parent / "plugins").is_dir()
