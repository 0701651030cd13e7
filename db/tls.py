"""TLS in addresses: modes and files are checked when a process starts, before anything connects.

The libraries would tell late, without a name, or not at all: what they do not know, they ignore.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERIFIES: Final = frozenset({"verify-ca", "verify-full"})
_ROOT: Final = Path("~/.postgresql/root.crt")
_AMQP: Final = frozenset(
    {
        "auth",
        "cadata",
        "cafile",
        "capath",
        "certfile",
        "heartbeat",
        "keyfile",
        "name",
        "no_verify_ssl",
        "timeout",
    }
)
"""What the AMQP library reads of an address."""
_AMQP_TLS: Final = _AMQP - {"auth", "heartbeat", "name", "timeout"}


def check_postgresql(url: str, environment: Mapping[str, str]) -> None:
    """Check the TLS of an address of PostgreSQL, with the variables that stand in for its parameters.

    Args:
        url: the address.
        environment: with ``PGSSLMODE`` and the like.

    Raises:
        ValueError: a mode or a file is not as it must be. The message names it.
    """
    given = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))

    def value(name: str) -> str:
        return given.get(name) or environment.get(f"PG{name.upper()}") or ""

    mode = (value("sslmode") or "prefer").replace("_", "-")  # asyncpg takes both
    if mode not in _MODES:
        raise ValueError(f"sslmode={mode} is none of {', '.join(_MODES)}")
    root, certificate, key = value("sslrootcert"), value("sslcert"), value("sslkey")
    if mode in _VERIFIES and not root and not _ROOT.expanduser().is_file():
        raise ValueError(
            f"sslmode={mode} needs sslrootcert, a file with the certificates of who may sign the server's"
        )
    if root:
        _check_authorities("sslrootcert", root)
    if certificate or key:
        _check_pair(("sslcert", certificate), ("sslkey", key), given.get("sslpassword", ""))


def check_amqp(url: str) -> None:
    """Check the TLS of an address of RabbitMQ.

    Raises:
        ValueError: a parameter or a file is not as it must be. The message names it.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "amqps":
        for name in given.keys() & _AMQP_TLS:
            raise ValueError(f"{name} is for amqps://, and this is {parts.scheme}://")
        return
    for name in sorted(given.keys() - _AMQP):
        raise ValueError(f"{name} is no parameter of an address: {', '.join(sorted(_AMQP))} are")
    for name, text in given.items():
        if name in _AMQP_TLS and not text:
            raise ValueError(f"{name} is empty")
    if "cafile" in given:
        _check_authorities("cafile", given["cafile"])
    if "capath" in given and not Path(given["capath"]).is_dir():
        raise ValueError(f"capath: there is no folder {given['capath']}")
    if "certfile" in given or "keyfile" in given:
        _check_pair(("certfile", given.get("certfile", "")), ("keyfile", given.get("keyfile", "")), "")


def _check_authorities(name: str, file: str) -> None:
    _check_readable(name, file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ValueError(f"{name}: {file} holds no certificate in PEM") from error


def _check_pair(certificate: tuple[str, str], key: tuple[str, str], password: str) -> None:
    """Check a client's certificate and its key, each a parameter's name and value. One file may hold both."""
    (name, file), (key_name, key_file) = certificate, key
    if not file:
        raise ValueError(f"{key_name} is of no use without {name}")
    _check_readable(name, file)
    if key_file:
        _check_readable(key_name, key_file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, key_file or None, lambda: password)
    except ssl.SSLError as error:
        raise ValueError(
            f"{name} and {key_name}: no certificate in PEM with the key that belongs to it"
        ) from error


def _check_readable(name: str, file: str) -> None:
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: {file} cannot be read: {error.strerror}") from error
