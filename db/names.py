r"""Names: the rules for each kind of text from outside, and the only functions that quote SQL names and literals.

The rules hold on HTTP, in messages and in a shell alike. A pattern is anchored by ``\A`` and ``\Z``: ``$`` would
admit a newline at the end.
"""

import base64
import re
import secrets
import string
import unicodedata
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

NO_NUL: Final = r"\A[^\x00]*\Z"
"""Any text that PostgreSQL can store; for what is only compared, such as a search."""
_UNSAFE: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Controls (C0, DEL, C1), separators of lines, and characters that turn the direction of the text round."""
_BLANK: Final = r" \xa0\xad\u061c\u1680\u2000-\u200f\u202f\u205f-\u2064\u3000\ufeff"
"""White space, and characters without a shape. Within a text they are fine."""
LINE: Final = rf"\A[{_BLANK}]*[^{_UNSAFE}{_BLANK}][^{_UNSAFE}]*\Z"
"""One line of text with something to be seen in it."""
BLOCK: Final = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\Z"
"""Lines of text: tabs and line ends are the only controls."""
_PART: Final = rf"[^@\s{_UNSAFE}{_BLANK}]+"
EMAIL: Final = rf"\A{_PART}@{_PART}\.{_PART}\Z"

Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]
ShortName = Annotated[str, Meta(min_length=1, max_length=100, pattern=LINE)]
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=LINE)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=LINE)]
"""The reason for an operator's act, in the operator's own words."""
Reference = Annotated[str, Meta(min_length=1, max_length=500, pattern=LINE)]
"""The ``id`` or ``source`` of a message from outside."""
Description = Annotated[str, Meta(min_length=1, max_length=500, pattern=BLOCK)]
Slug = Annotated[str, Meta(min_length=1, max_length=63, pattern=LINE)]
"""A slug as it is sent; `slug` has its rules."""
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=LINE)]
"""A host as it is sent; `host` has its rules."""
Email = Annotated[str, Meta(min_length=3, max_length=256, pattern=EMAIL)]
"""An e-mail as it is sent; `mailbox` is what is stored."""


class InvalidNameError(InvalidValueError):
    """A name, slug or host cannot be used. The message says why."""


def composed(text: str) -> str:
    """Return ``text`` in Unicode's form NFC, in which texts that look the same are the same."""
    return unicodedata.normalize("NFC", text)


def line(text: str, field: str = "name", *, longest: int = 200) -> str:
    """Return ``text`` as one line of text, in NFC. White space at its ends stays.

    Args:
        text: the text.
        field: name of the value, for the error.
        longest: characters at most.

    Raises:
        InvalidNameError: the text is too long, has nothing to be seen, or has a control character.
    """
    chosen = composed(text)
    if not re.match(LINE, chosen) or len(chosen) > longest:
        message = f"one line of 1 to {longest} characters, without control characters"
        raise InvalidNameError(field, message)
    return chosen


def mailbox(email: str) -> str:
    """Return an e-mail as it is stored and compared: in NFC, with its ASCII letters in lower case.

    Other letters do not change: ``casefold`` would turn ``ß`` into ``ss``, which is another mailbox.
    """
    return folded(composed(email))


def escaped(text: str) -> str:
    r"""Return ``text`` for a terminal, as one line: characters that could forge output are written as ``\x1b``."""
    return re.sub(f"[{_UNSAFE}]", lambda found: ascii(found[0])[1:-1], text)


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
        ascii_host = idna.encode(text.removesuffix("."), uts46=True).decode().lower()
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
