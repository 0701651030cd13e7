"""Servers from a Debian-like system's packages, unpacked into a cache without root's rights."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from db.local.processes.process import ProcessError, output_of
from db.local.servers.installation import Installation

_TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
_TIMEOUT = 900.0
_ROOT_OF = {"bin/erl": "..", "bin/start": "..", "erts-*/bin/erl": "../..", "erts-*/bin/start": "../.."}


class UnpackError(RuntimeError):
    """The packages could not be downloaded, or do not contain a working server."""


class Program(NamedTuple):
    """A program, and the directories of shared libraries that it needs and the system lacks."""

    path: Path
    libraries: tuple[Path, ...] = ()


def default_cache() -> Path:
    """Return ``$XDG_CACHE_HOME/tenantry``, or ``~/.cache/tenantry`` if the variable is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenantry"


def is_debian_like() -> bool:
    """Return True if the system has the tools to download and unpack packages."""
    return all(shutil.which(tool) for tool in _TOOLS)


def unpack_rabbitmq(cache: Path | None = None) -> Installation:
    """Return the server in the cache. If there is none, download and unpack its packages first.

    The package lists come from the system's own sources, with signatures checked, and are read into a
    temporary directory. The system is not changed. After an interrupted download, a later call starts
    again.

    Args:
        cache: the directory of the cache; `default_cache` by default. It may be moved as a whole.

    Raises:
        UnpackError: the system is not Debian-like, a package cannot be downloaded, or a library is missing.
    """
    return _installation(_kept("rabbitmq", cache, _unpack))


def unpack_pgbouncer(cache: Path | None = None) -> Program:
    """Return PgBouncer from the cache, as `unpack_rabbitmq` does the other server."""
    return _pgbouncer(_kept("pgbouncer", cache, _unpack_pgbouncer))


def _kept(name: str, cache: Path | None, unpack: Callable[[Path], Path]) -> Path:
    """Return the tree of a server in the cache, which ``unpack`` makes below a directory if there is none."""
    cache = (cache or default_cache()).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / name
    with _only_one(cache / f"{name}.lock"):
        if not tree.is_dir():
            if not is_debian_like():
                raise UnpackError(f"this system lacks {', '.join(_TOOLS)}: install {name} some other way")
            for abandoned in cache.glob(f"{name}.new.*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f"{name}.new.", dir=cache) as scratch:
                fresh = unpack(Path(scratch))
                fresh.replace(tree)
    return tree


def _unpack(scratch: Path) -> Path:
    apt = _Apt(scratch / "apt")
    tree = scratch / "tree"
    wanted = apt.closure("rabbitmq-server")
    apt.unpack([name for name in wanted if name == "rabbitmq-server" or name.startswith("erlang-")], tree)
    _relocate(tree / "usr/lib/erlang")
    _complete(apt, tree, tree / "usr/lib/erlang", ["erlang-base", "erlang-crypto"])
    _installation(tree)
    return tree


def _unpack_pgbouncer(scratch: Path) -> Path:
    apt = _Apt(scratch / "apt")
    tree = scratch / "tree"
    apt.unpack(["pgbouncer"], tree)
    # Not of all that it depends on, which is Perl and more.
    _complete(
        apt, tree, tree / "usr/sbin", [name for name in apt.needs("pgbouncer") if name.startswith("lib")]
    )
    _pgbouncer(tree)
    return tree


def _pgbouncer(tree: Path) -> Program:
    path = tree / "usr/sbin/pgbouncer"
    if not path.is_file():
        raise UnpackError(f"{tree} does not hold PgBouncer; delete it to have it unpacked anew")
    return Program(path, tuple(_library_directories(tree)))


def _installation(tree: Path) -> Installation:
    erlang = tree / "usr/lib/erlang/bin"
    scripts = sorted(tree.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"))
    if not scripts or not (erlang / "erl").is_file():
        raise UnpackError(f"{tree} does not hold a RabbitMQ server; delete it to have it unpacked anew")
    return Installation(scripts[-1], erlang, tuple(_library_directories(tree)))


def _relocate(erlang: Path) -> None:
    """Make Erlang's start scripts find their root relative to themselves, not at a fixed path."""
    for pattern, up in _ROOT_OF.items():
        for script in erlang.glob(pattern):
            found = f'ROOTDIR=$(cd "$(dirname "$(readlink -f "$0")")/{up}" && pwd)\n'
            text = script.read_text(encoding="utf-8")
            script.write_text(text.replace("ROOTDIR=/usr/lib/erlang\n", found), encoding="utf-8")


def _complete(apt: "_Apt", tree: Path, programs: Path, packages: list[str]) -> None:
    """Unpack the shared libraries that the programs lack, from ``packages`` and what these depend on.

    Raises:
        UnpackError: a library is in none of them.
    """
    if missing_libraries(tree, programs):
        add_libraries(apt, tree, packages)
    missing = missing_libraries(tree, programs)
    if missing:
        raise UnpackError(f"shared libraries are missing: {', '.join(sorted(missing))}")


def missing_libraries(tree: Path, programs: Path) -> set[str]:
    """Return the names of shared libraries that the files below ``programs`` need and that are not found."""
    path = os.pathsep.join(map(str, _library_directories(tree)))
    files = [file for file in programs.rglob("*") if file.is_file() and _is_elf(file)]
    listing = subprocess.run(
        ["ldd", *map(str, files)],
        env={**os.environ, "LD_LIBRARY_PATH": path, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
    )
    return set(re.findall(r"^\s*(\S+) => not found", listing.stdout, re.MULTILINE))


def add_libraries(apt: "_Apt", tree: Path, packages: list[str]) -> None:
    """Unpack the libraries among ``packages`` and their dependencies, except the C library, into ``tree``."""
    needed = [name for name in apt.closure(*packages) if _is_library(name) or name in packages]
    apt.unpack([name for name in needed if name.startswith(("lib", "zlib"))], tree / "libraries")


def _library_directories(tree: Path) -> list[Path]:
    return sorted(
        directory
        for root in ("lib", "usr/lib")
        for directory in (tree / "libraries" / root).glob("*-linux-*")
    )


def _is_library(package: str) -> bool:
    return package.startswith(("lib", "zlib1g")) and not package.startswith(("libc6", "libpam", "libperl"))


def _is_elf(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(4) == b"\x7fELF"


class _Apt:
    """The system's package sources, used with a separate state in ``directory``."""

    def __init__(self, directory: Path) -> None:
        (directory / "lists/partial").mkdir(parents=True)
        (directory / "cache/archives/partial").mkdir(parents=True)
        (directory / "status").touch()
        self._directory = directory
        settings = {
            "Dir::State": directory,
            "Dir::State::Lists": directory / "lists",
            "Dir::State::Status": directory / "status",
            "Dir::Cache": directory / "cache",
            "APT::Sandbox::User": "root",  # if root, stay root: the sandbox user cannot read the cache
            "Acquire::Retries": 3,
            "Acquire::http::Timeout": 30,
            "Acquire::Languages": "none",
        }
        self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._run("apt-get", "update", "--quiet")

    def closure(self, *packages: str) -> list[str]:
        """Return the names of ``packages`` and all their dependencies, without virtual packages."""
        kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        output = self._run(
            "apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), *packages
        )
        return [line for line in output.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", line)]

    def needs(self, package: str) -> list[str]:
        """Return the names of the packages that ``package`` itself depends on, except the C library."""
        found = re.findall(
            r"^ [ |]Depends: ([a-z0-9.+-]+)$", self._run("apt-cache", "depends", package), re.MULTILINE
        )
        return [name for name in found if not name.startswith("libc6")]

    def unpack(self, packages: Iterable[str], target: Path) -> None:
        """Download ``packages`` and unpack them into ``target``."""
        archives = Path(tempfile.mkdtemp(dir=self._directory))
        self._run("apt-get", "download", "--quiet", *packages, directory=archives)
        target.mkdir(exist_ok=True)
        for archive in sorted(archives.glob("*.deb")):
            self._run("dpkg-deb", "--extract", str(archive), str(target), options=False)
        shutil.rmtree(archives)

    def _run(self, tool: str, *arguments: str, directory: Path | None = None, options: bool = True) -> str:
        try:
            return output_of(
                [tool, *(self._options if options else ()), *arguments],
                environment={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
                timeout=_TIMEOUT,
                directory=directory,
            )
        except ProcessError as error:
            raise UnpackError(str(error)) from error


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
