"""Finding an installed RabbitMQ server and the Erlang that runs it."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HIDE = "TENANTRY_HIDE_RABBITMQ"


class Installation(NamedTuple):
    """An installed RabbitMQ server.

    ``scripts`` is the directory of the server's own ``rabbitmq-server`` and ``rabbitmqctl``, not of a package's
    wrappers. ``erlang`` is the directory of ``erl`` and ``epmd``. ``libraries`` are directories of shared
    libraries that Erlang needs and the system lacks.
    """

    scripts: Path
    erlang: Path
    libraries: tuple[Path, ...] = ()

    @property
    def version(self) -> str:
        """The server's version, such as ``3.10.8``, or an empty text if its directory's name has none."""
        found = re.search(r"rabbitmq_server-([\w.]+)", str(self.scripts.resolve()))
        return found.group(1) if found else ""

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return ``given`` with the variables by which the server's scripts find Erlang and its libraries."""
        path = [str(self.erlang), *filter(None, [given.get("PATH", os.defpath)])]
        libraries = [*map(str, self.libraries), *filter(None, [given.get("LD_LIBRARY_PATH", "")])]
        added = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}
        return {**given, "PATH": os.pathsep.join(path), **added}


def get_installation() -> Installation | None:
    """Return the RabbitMQ server that is installed on this machine.

    Returns:
        The installation. None if there is none, or if ``TENANTRY_HIDE_RABBITMQ`` is set and not ``0``.
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
    """Return the directory that has both ``erl`` and ``epmd``, or None if there is none."""
    erl = shutil.which("erl", path=f"{os.environ.get('PATH', os.defpath)}:/usr/lib/erlang/bin")
    if erl is None:
        return None
    places = (Path(erl).parent, Path(erl).resolve().parent)
    return next((place for place in places if (place / "epmd").is_file()), None)


def _script_directories() -> Iterator[Path]:
    command = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if command is not None:
        yield Path(command).resolve().parent  # of a plain archive, or of what a package manager links to
    for root in ("/usr/lib/rabbitmq", "/opt/rabbitmq", "/usr/local/lib/rabbitmq"):
        found = sorted(Path(root).glob("lib/rabbitmq_server-*/sbin"), key=_version_key, reverse=True)
        yield from (*found, Path(root) / "sbin")


def _version_key(scripts: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", scripts.parent.name)]


def _usable(scripts: Path) -> bool:
    # The directory of a package's wrapper has no plugins beside it.
    return (scripts / "rabbitmq-server").is_file() and (scripts.parent / "plugins").is_dir()
