"""The ``-x`` arguments of Alembic's commands."""

from collections.abc import Sequence
from typing import Final

import msgspec
from alembic.util import CommandError

from db import names
from db.migrations.lineage import ALIASES, LineageName

ALL: Final = "all"
"""The value of ``-x tenant=`` that means every tenant, as no ``-x tenant=`` does."""

MOST_JOBS: Final = 32
"""Most tenants that an upgrade takes at a time: each has a connection of its own."""

_KNOWN: Final = ("tenant", "dry_run", "yes", "jobs")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class Arguments(msgspec.Struct, frozen=True):
    """The ``-x`` arguments of a command.

    Args:
        tenant: the slug of one tenant, or None for all.
        shared: whether the command is for the shared lineage.
        dry_run: whether to print the SQL only.
        yes: whether a downgrade that destroys rows goes on without asking.
        jobs: how many tenants an upgrade takes at a time; None if that was not said.
    """

    tenant: str | None = None
    shared: bool = False
    dry_run: bool = False
    yes: bool = False
    jobs: int | None = None

    @property
    def lineage(self) -> LineageName:
        """The lineage that the command is for if it is not for both."""
        return "shared" if self.shared else "tenant"

    @classmethod
    def read(cls, given: Sequence[str]) -> "Arguments":
        """Return the arguments in ``given``, each ``key=value``.

        Raises:
            CommandError: an argument is unknown, repeated, or without a valid value. An empty value is refused
                too: it is what a shell makes of a variable that is not set.
        """
        values: dict[str, str] = {}
        for argument in given:
            key, _, value = argument.partition("=")
            if key not in _KNOWN:
                raise CommandError(f"-x {key}: unknown; known are {', '.join(_KNOWN)}")
            if key in values:
                raise CommandError(f"-x {key}: given twice")
            if not value.strip():
                raise CommandError(f"-x {key}: has no value; write -x {key}={_EXAMPLES[key]}")
            values[key] = value.strip()
        slug = names.folded(values.get("tenant", ALL))
        return cls(
            tenant=None if slug == ALL or slug in ALIASES else slug,
            shared=slug in ALIASES,
            dry_run=_flag(values, "dry_run"),
            yes=_flag(values, "yes"),
            jobs=_number(values, "jobs"),
        )

    def check(self, command: str) -> None:
        """Check that a command knows the arguments.

        Args:
            command: the command's name.

        Raises:
            CommandError: ``jobs`` is given to another command than an upgrade.
        """
        if self.jobs is None or command == "upgrade":
            return
        turns = ": a downgrade takes one tenant after the other" if command == "downgrade" else ""
        raise CommandError(f"-x jobs={self.jobs}: only upgrade knows it{turns}")


_EXAMPLES: Final = {"tenant": "SLUG, or -x tenant=all", "dry_run": "True", "yes": "True", "jobs": "4"}


def _flag(values: dict[str, str], key: str) -> bool:
    value = values.get(key, "false").casefold()
    if value not in _TRUE | _FALSE:
        raise CommandError(f"-x {key}={values[key]}: expected True or False")
    return value in _TRUE


def _number(values: dict[str, str], key: str) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST_JOBS):
        raise CommandError(f"-x {key}={value}: expected a whole number from 1 to {MOST_JOBS}")
    return int(value)
