"""Lineages: the two chains of Alembic revisions, ``shared`` and ``tenant``."""

from functools import cache
from pathlib import Path
from typing import Final, Literal

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from db.errors import InvalidValueError

LineageName = Literal["shared", "tenant"]
ALIASES: Final = frozenset({"shared", "public"})
"""Values of ``-x tenant=`` that mean the shared lineage."""


class UnknownRevisionError(InvalidValueError):
    """The lineage of this release does not have the revision."""

    def __init__(self, lineage: str, revision: str) -> None:
        super().__init__("revision", f"the {lineage} lineage has no revision {revision!r}")


class Lineage:
    """A chain of revisions, oldest first.

    Args:
        name: the lineage's name.
        config: Alembic's configuration file.
    """

    def __init__(self, name: LineageName, config: Path) -> None:
        self.name: LineageName = name
        self.script = ScriptDirectory.from_config(Config(config))
        narrow(self.script, name)
        newest_first = list(self.script.walk_revisions())
        self.revisions: tuple[Script, ...] = tuple(reversed(newest_first))
        self._positions = {script.revision: at for at, script in enumerate(self.revisions)}

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions[-1].revision

    @property
    def base(self) -> str:
        """The oldest revision."""
        return self.revisions[0].revision

    def knows(self, revision: str) -> bool:
        return revision in self._positions

    def position(self, revision: str) -> int:
        """Return the index of ``revision`` in the chain, from 0.

        Raises:
            UnknownRevisionError: the lineage does not have the revision.
        """
        try:
            return self._positions[revision]
        except KeyError:
            raise UnknownRevisionError(self.name, revision) from None

    def resolve(self, text: str) -> str:
        """Return the id of the revision that ``text`` names: ``head``, an id or the beginning of one.

        Raises:
            UnknownRevisionError: ``text`` names no revision, or more than one.
        """
        try:
            found = self.script.get_revision(text)
        except CommandError as error:
            raise UnknownRevisionError(self.name, text) from error
        if found is None:  # `base`
            raise UnknownRevisionError(self.name, text)
        return found.revision

    def compatible_from(self, revision: str) -> str:
        """Return the oldest revision whose code still works with ``revision``, as ``revision`` declares it.

        Raises:
            UnknownRevisionError: the lineage does not have the revision.
        """
        return str(self.revisions[self.position(revision)].module.compatible_from)

    def path(self, start: str | None, end: str) -> tuple[Script, ...]:
        """Return the revisions after ``start`` (None: from the first) up to ``end``, oldest first.

        Raises:
            UnknownRevisionError: the lineage does not have one of the revisions.
            ValueError: ``end`` is older than ``start``.
        """
        first = 0 if start is None else self.position(start) + 1
        last = self.position(end) + 1
        if last < first:
            raise ValueError(f"{end} is older than {start}")
        return self.revisions[first:last]


def narrow(script: ScriptDirectory, name: LineageName) -> None:
    """Restrict a script directory to one lineage; alembic.ini names both."""
    script.version_locations = [str(Path(script.dir) / "versions" / name)]
    script.__dict__.pop("_version_locations", None)  # Alembic has cached the locations
    script.revision_map = type(script.revision_map)(script._load_revisions)  # noqa: SLF001


@cache
def lineage(name: LineageName, config: Path) -> Lineage:
    """Return a lineage. It is read once in each process."""
    return Lineage(name, config)
