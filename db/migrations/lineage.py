"""Lineages: the two trees of Alembic revisions, ``shared`` and ``tenant``, each with one head."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from db.errors import InvalidValueError, TenantryError

LineageName = Literal["shared", "tenant"]
ALIASES: Final = frozenset({"shared", "public"})
"""Values of ``-x tenant=`` that mean the shared lineage."""


class UnknownRevisionError(InvalidValueError):
    """The lineage of this release does not have the revision."""

    def __init__(self, lineage: str, revision: str) -> None:
        super().__init__("revision", f"the {lineage} lineage has no revision {revision!r}")


class LineageError(TenantryError):
    """A lineage that this release must not run: the message names the revision and the reason."""


class Lineage:
    """A tree of revisions with one head, oldest first. A merge joins branches again.

    Args:
        name: the lineage's name.
        config: Alembic's configuration file.

    Raises:
        LineageError: a revision cannot be read, or the lineage has not exactly one head.
    """

    def __init__(self, name: LineageName, config: Path) -> None:
        self.name: LineageName = name
        try:
            self.script = ScriptDirectory.from_config(Config(config))
            narrow(self.script, name)
            ids = [script.revision for script in self.script._load_revisions()]  # noqa: SLF001 - the map has each once
            twice = sorted({each for each in ids if ids.count(each) > 1})
            if twice:
                raise LineageError(f"two files say revision {twice[0]!r}")
            newest_first = list(self.script.walk_revisions())
            heads = self.script.get_heads()
        except LineageError as error:
            raise LineageError(f"the {name} lineage cannot be read: {error}") from error
        except KeyError as error:  # all that Alembic says of it
            raise LineageError(
                f"the {name} lineage cannot be read: a down_revision or depends_on names {error}, which no file has"
            ) from error
        except (Exception, SystemExit) as error:
            raise LineageError(
                f"the {name} lineage cannot be read: {type(error).__name__}: {error}"
            ) from error
        if len(heads) != 1:
            found = ", ".join(sorted(heads)) or "none"
            raise LineageError(
                f"the {name} lineage has {len(heads)} heads ({found}): one is needed; join them with "
                "alembic merge heads, or give one another down_revision"
            )
        self.revisions: tuple[Script, ...] = tuple(reversed(newest_first))
        self._positions = {script.revision: at for at, script in enumerate(self.revisions)}
        self._ancestors: dict[str, frozenset[str]] = {}
        for script in self.revisions:
            downs = script._normalized_down_revisions  # noqa: SLF001 - as Alembic reads down_revision
            self._ancestors[script.revision] = frozenset({script.revision}).union(
                *(self._ancestors[down] for down in downs)
            )

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
        """Return the index of ``revision`` in the lineage, from 0.

        Raises:
            UnknownRevisionError: the lineage does not have the revision.
        """
        try:
            return self._positions[revision]
        except KeyError:
            raise UnknownRevisionError(self.name, revision) from None

    def applied(self, revision: str | None) -> frozenset[str]:
        """Return the revisions that a schema at ``revision`` has: itself and all before it.

        Raises:
            UnknownRevisionError: the lineage does not have the revision.
        """
        if revision is None:
            return frozenset()
        self.position(revision)
        return self._ancestors[revision]

    def newest(self, revisions: Iterable[str]) -> str | None:
        """Return the newest of ``revisions``, or None if there are none."""
        return max(revisions, key=self.position, default=None)

    def is_alone(self, revision: str) -> bool:
        """Return whether every other revision comes before or after ``revision``, none beside it."""
        before = self.applied(revision)
        return all(other in before or revision in self._ancestors[other] for other in self._positions)

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
        """Return the revisions that ``end`` has and ``start`` (None: no revision) has not, oldest first.

        Raises:
            UnknownRevisionError: the lineage does not have one of the revisions.
            ValueError: ``start`` does not come before ``end``.
        """
        have, wanted = self.applied(start), self.applied(end)
        if not have <= wanted:
            raise ValueError(f"{end} does not come after {start}")
        return tuple(script for script in self.revisions if script.revision in wanted - have)

    def path_down(self, start: str, end: str | None) -> tuple[Script, ...]:
        """Return the revisions to take back from ``start`` to ``end`` (None: all of them), newest first.

        Raises:
            UnknownRevisionError: the lineage does not have one of the revisions.
            ValueError: ``end`` does not come before ``start``.
        """
        have, wanted = self.applied(start), self.applied(end)
        if not wanted <= have:
            raise ValueError(f"{end} does not come before {start}")
        return tuple(script for script in reversed(self.revisions) if script.revision in have - wanted)


def narrow(script: ScriptDirectory, name: LineageName) -> None:
    """Restrict a script directory to one lineage; alembic.ini names both."""
    locations = [str(Path(script.dir) / "versions" / name)]
    if script.version_locations == locations:
        return  # the files are read already
    script.version_locations = locations
    script.__dict__.pop("_version_locations", None)  # Alembic has cached the locations
    script.revision_map = type(script.revision_map)(script._load_revisions)  # noqa: SLF001
