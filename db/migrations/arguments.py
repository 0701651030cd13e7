"""The ``-x`` arguments of Alembic's commands."""

from collections.abc import Sequence
from typing import Final

import msgspec
from alembic.util import CommandError

from db import names
from db.migrations.lineage import ALIASES, LineageName

ALL: Final = "all"
"""The value of ``-x tenant=`` that means every tenant, as no ``-x tenant=`` does."""

_KNOWN: Final = ("tenant", "dry_run", "yes")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class Arguments(msgspec.Struct, frozen=True):
    """The ``-x`` arguments of a command.

    Args:
        tenant: the slug of one tenant, or None for all.
        shared: whether the command is for the shared lineage.
        dry_run: whether to print the SQL only.
        yes: whether a downgrade that destroys rows goes on without asking.
    """

    tenant: str | None = None
    shared: bool = False
    dry_run: bool = False
    yes: bool = False

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
        )


_EXAMPLES: Final = {"tenant": "SLUG, or -x tenant=all", "dry_run": "True", "yes": "True"}


def _flag(values: dict[str, str], key: str) -> bool:
    value = values.get(key, "false").casefold()
    if value not in _TRUE | _FALSE:
        raise CommandError(f"-x {key}={values[key]}: expected True or False")
    return value in _TRUE
