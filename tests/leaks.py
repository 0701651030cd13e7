"""Watching whatever the tests and their processes write for secrets, over a whole run."""

import itertools
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.stdlib import ProcessorFormatter

SECRET = re.compile(r"(tnt|usr|opr)_[a-z2-7]{16}_[a-z2-7]{20,}|\$argon2|correct horse|(owner|app)-password")
"""A token, an argon2 hash, and the passwords that the tests use."""

_format = ProcessorFormatter.format
_found: list[str] = []
_numbers = itertools.count(1)
_outputs: Path | None = None


def look(text: str) -> None:
    """Search what somebody wrote; a line with a secret in it fails the run."""
    _found.extend(line for line in text.splitlines() if SECRET.search(line))


def output(name: str) -> Path:
    """Return a fresh file for a process's output, which is searched at the end of the run."""
    assert _outputs is not None, "nobody watches"
    return _outputs / f"{name}-{next(_numbers)}.log"


def in_files(folder: Path) -> list[str]:
    """Return the lines with a secret in the log files in and under ``folder``."""
    return [
        f"{path.name}: {line}"
        for path in folder.rglob("*.log")
        for line in path.read_text(errors="replace").splitlines()
        if SECRET.search(line)
    ]


@contextmanager
def watched() -> Iterator[list[str]]:
    """Look at every log line that is rendered, and collect those with a secret; a watch within takes over.

    Whatever sets logging up ends in structlog's formatter, the one place that sees the text as it is
    written. A search a line costs nothing that could be measured.
    """
    found: list[str] = []

    def look(formatter: ProcessorFormatter, record: logging.LogRecord) -> str:
        line = _format(formatter, record)
        if SECRET.search(line):
            found.append(line)
        return line

    before = ProcessorFormatter.format
    setattr(ProcessorFormatter, "format", look)  # noqa: B010 - mypy knows methods as constants
    try:
        yield found
    finally:
        setattr(ProcessorFormatter, "format", before)  # noqa: B010


@contextmanager
def none_in(folder: Path) -> Iterator[None]:
    """See that nothing that is written meanwhile has a secret in it.

    Log lines of this process, what pytest captured of it, what commands wrote to standard error, and the
    log files of all processes and servers that have theirs in or under ``folder``.

    Raises:
        AssertionError: something has.
    """
    global _outputs  # noqa: PLW0603 - of the run, as what pytest captures is
    _outputs = folder / "outputs"
    _outputs.mkdir()
    try:
        with watched() as lines:
            yield
    finally:
        _outputs = None
    leaked = [*lines, *_found, *in_files(folder)]
    _found.clear()
    assert not leaked, "secrets were written:\n" + "\n".join(leaked)
