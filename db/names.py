"""Names: what a slug, a host and a schema may be called. The one place that quotes an identifier."""

import base64
import re
import secrets
from typing import Final, NewType

import idna

SchemaName = NewType("SchemaName", str)
"""A tenant's schema and role: ``t_`` and 16 base32 characters (80 random bits), never user input."""

SLUG: Final = re.compile(r"\A[a-z]([a-z0-9_-]{0,61}[a-z0-9])?\Z")
SCHEMA: Final = re.compile(r"\At_[a-z2-7]{16}\Z")
_LABEL: Final = re.compile(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_IPV4: Final = re.compile(r"\A[0-9.]+\Z")

# SQL:2023 and PostgreSQL 18 reserved words (PostgreSQL manual, appendix C), and names with a meaning here.
_KEYWORDS: Final = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between binary both by case
    cast check collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user default
    deferrable desc distinct do else end except exists false fetch for foreign freeze from full
    grant group having ilike in initially inner insert intersect into is isnull join lateral leading
    left like limit localtime localtimestamp natural not notnull null offset on only or order outer
    overlaps placing primary references returning right select session_user similar some symmetric
    system_user table tablesample then to trailing true union unique update user using variadic
    verbose when where window with delete drop alter truncate revoke set reset commit rollback begin
    role schema
    """.split()  # noqa: SIM905 - a list of a hundred quoted words reads worse
)
RESERVED: Final = _KEYWORDS | {"public", "shared", "none", "api", "cc", "www", "admin"}


class NameRefused(ValueError):  # noqa: N818 - reads as what happened to the name
    """A slug or host that cannot be used; the message says why."""


def slug(text: str) -> str:
    """Return ``text`` as a tenant's slug, case-folded.

    Raises:
        NameRefused: it is malformed or reserved.
    """
    folded = text.lower()  # not casefold: it would turn ß into ss, and so one name into another
    if not SLUG.match(folded):
        raise NameRefused(
            "a slug is 1 to 63 characters: a letter first, then letters, digits, '-' and '_', "
            "a letter or digit last"
        )
    if folded in RESERVED or folded.startswith(("pg_", "tenantry")):
        raise NameRefused("this slug is reserved")
    return folded


def slug_from(name: str) -> str:
    """Derive a slug from a tenant's display name, such as ``Joe's Bakery`` -> ``joe-s-bakery``.

    Raises:
        NameRefused: nothing usable is left of it.
    """
    ascii_only = name.casefold().encode("ascii", "ignore").decode()
    return slug(re.sub(r"[^a-z0-9]+", "-", ascii_only).lstrip("-0123456789")[:63].strip("-"))


def host(text: str) -> str:
    """Return ``text`` as a host name: lower case, IDNA to ASCII (RFC 5891), at most 253 characters.

    Raises:
        NameRefused: it has a port, user information or a wildcard, or is an IP address.
    """
    try:
        ascii_host = idna.encode(text.strip().rstrip("."), uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise NameRefused("this is not a host name") from error
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise NameRefused("this is not a host name")
    if _IPV4.match(ascii_host):
        raise NameRefused("an address is not a host name")
    return ascii_host


def new_schema_name() -> SchemaName:
    """Draw a fresh name for a tenant's schema and role; 80 bits, so that none is ever drawn twice."""
    return SchemaName("t_" + base64.b32encode(secrets.token_bytes(10)).decode().lower())


def schema_name(text: str) -> SchemaName:
    """Check that ``text`` is a tenant schema's name, and so safe within SQL text.

    Raises:
        ValueError: it is not; nothing but a defect or tampering leads here.
    """
    if not SCHEMA.match(text):
        raise ValueError(f"not a tenant schema: {text!r}")
    return SchemaName(text)


def quoted(identifier: str) -> str:
    """Return ``identifier`` quoted for SQL text.

    Raises:
        ValueError: it is empty, has a NUL, or is longer than PostgreSQL's 63 bytes, which would cut it.
    """
    if not identifier or "\0" in identifier or len(identifier.encode()) > 63:
        raise ValueError("not an identifier")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` as an SQL literal, for statements that take no parameters (ALTER ROLE, say).

    Raises:
        ValueError: it has a NUL.
    """
    if "\0" in text:
        raise ValueError("a literal cannot have a NUL")
    prefix = " E" if "\\" in text else ""
    return prefix + "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
