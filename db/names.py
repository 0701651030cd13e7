"""Names: rules for slugs, hosts and schemas, and the only functions that quote SQL identifiers and literals."""

import base64
import re
import secrets
import string
from typing import Annotated, Final, NewType

import idna
from msgspec import Meta
from slugify import slugify
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from db.errors import InvalidValueError

SchemaName = NewType("SchemaName", str)
"""The name of a tenant's schema and role: ``t_`` and 16 base32 characters (80 random bits), never user input."""

SLUG: Final = re.compile(r"\A[a-z]([a-z0-9_-]{0,61}[a-z0-9])?\Z")
SCHEMA: Final = re.compile(r"\At_[a-z2-7]{16}\Z")
_LABEL: Final = re.compile(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_IPV4: Final = re.compile(r"\A[0-9.]+\Z")

# SQL verbs, then names with a meaning in Tenantry, then reserved words that SQLAlchemy's list lacks.
RESERVED: Final = RESERVED_WORDS | frozenset(
    """
    alter begin by commit delete drop exists insert reset revoke role rollback schema set truncate update
    public shared none api cc www admin
    collation concurrently lateral system_user tablesample
    """.split()  # noqa: SIM905 - a list of quoted words reads worse
)
_RESERVED_BEGINNINGS: Final = ("pg_", "tenantry")
_PREFIX: Final = "t-"
"""Put before a derived slug that is reserved or does not begin with a letter."""
_LONGEST: Final = 63

NO_NUL: Final = r"^[^\x00]*$"
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]
"""A short text. It has no NUL, which PostgreSQL cannot store."""


class InvalidNameError(InvalidValueError):
    """A slug or host cannot be used. The message says why."""


def folded(text: str) -> str:
    """Return ``text`` with its ASCII letters in lower case. Slugs are always compared in this form.

    Other letters do not change, so that different names stay different: ``casefold`` would turn ``ß`` into
    ``ss``, and ``lower`` the Kelvin sign into ``k``.
    """
    return text.translate(_ASCII_LOWER)


_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def slug(text: str) -> str:
    """Return ``text`` as a tenant's slug, folded.

    Raises:
        InvalidNameError: the slug is malformed or reserved.
    """
    chosen = folded(text)
    if not SLUG.match(chosen):
        raise InvalidNameError(
            "slug",
            "a slug is 1 to 63 characters: a letter first, then letters, digits, '-' and '_', "
            "a letter or digit last",
        )
    if _is_reserved(chosen):
        raise InvalidNameError("slug", "this slug is reserved")
    return chosen


def slug_from(name: str) -> str:
    """Return a slug made from a tenant's name, such as ``cafe-muller`` from ``Café Müller``.

    Other scripts are transliterated. A slug that is reserved or does not begin with a letter gets a prefix
    (``t-24h-shop`` from ``24h Shop``). A slug that is too long is cut.

    Raises:
        InvalidNameError: the name has neither a letter nor a digit.
    """
    derived = slugify(name)
    if not derived:
        raise InvalidNameError("slug", "none can be made from this name; please choose one")
    if not SLUG.match(derived[:1]) or _is_reserved(derived):
        derived = _PREFIX + derived
    cut = derived[:_LONGEST].strip("-")
    # Cutting cannot make a reserved word, because all of them are shorter than 63 characters.
    return slug(cut)


def _is_reserved(chosen: str) -> bool:
    return chosen in RESERVED or chosen.startswith(_RESERVED_BEGINNINGS)


def get_slug(text: str) -> str | None:
    """Return ``text`` folded if it is a well-formed slug, else None.

    For look-ups: a malformed slug need not be sent to PostgreSQL, which may reject it.
    """
    chosen = folded(text)
    return chosen if SLUG.match(chosen) else None


def host(text: str) -> str:
    """Return ``text`` as a host name: lower case, IDNA to ASCII (RFC 5891), at most 253 characters.

    Raises:
        InvalidNameError: ``text`` is not a host name. It may have a port, user information or a wildcard, or be
            an IP address.
    """
    try:
        ascii_host = idna.encode(text.strip().rstrip("."), uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidNameError("host", "this is not a host name") from error
    labels = ascii_host.split(".")
    if len(ascii_host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise InvalidNameError("host", "this is not a host name")
    if _IPV4.match(ascii_host):
        raise InvalidNameError("host", "an address is not a host name")
    return ascii_host


def new_schema_name() -> SchemaName:
    """Return a random name for a tenant's schema and role. It has 80 random bits, so it is unique."""
    return SchemaName("t_" + base64.b32encode(secrets.token_bytes(10)).decode().lower())


def schema_name(text: str) -> SchemaName:
    """Return ``text`` if it is a tenant schema's name, and so safe in SQL text.

    Raises:
        ValueError: ``text`` is not such a name, because of a defect or tampering.
    """
    if not SCHEMA.match(text):
        raise ValueError(f"not a tenant schema: {text!r}")
    return SchemaName(text)


def quoted(identifier: str) -> str:
    """Return ``identifier`` quoted for SQL text.

    Raises:
        ValueError: ``identifier`` is empty, has a NUL, or is longer than 63 bytes, so that PostgreSQL would
            cut it.
    """
    if not identifier or "\0" in identifier or len(identifier.encode()) > 63:
        raise ValueError("not an identifier")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return ``text`` as an SQL literal, for statements that take no parameters, such as ALTER ROLE.

    Raises:
        ValueError: ``text`` has a NUL.
    """
    if "\0" in text:
        raise ValueError("a literal cannot have a NUL")
    prefix = " E" if "\\" in text else ""
    return prefix + "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
