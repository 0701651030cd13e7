"""Leaks: searches the output of the tests and their processes for secrets, over the whole run."""

import itertools
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structlog.stdlib import ProcessorFormatter

SECRET = re.compile(r"(tnt|usr|opr)_[a-z2-7]{16}_[a-z2-7]{20,}|\$argon2|correct horse|(owner|app)-password")
"""Matches a token, an argon2 hash, and the passwords that the tests use."""

_format = ProcessorFormatter.format
_found: list[str] = []
_numbers = itertools.count(1)
_outputs: Path | None = None


def look(text: str) -> None:
    """Search a text for secrets. A line with a secret fails the run at its end."""
    _found.extend(line for line in text.splitlines() if SECRET.search(line))


def output(name: str) -> Path:
    """Return the path of a fresh file for a process's output, which is searched at the end of the run."""
    assert _outputs is not None, "nobody watches"
    return _outputs / f"{name}-{next(_numbers)}.log"


def in_files(folder: Path) -> list[str]:
    """Return the lines with a secret in the log files in and below ``folder``."""
    return [
        f"{path.name}: {line}"
        for path in folder.rglob("*.log")
        for line in path.read_text(errors="replace").splitlines()
        if SECRET.search(line)
    ]


@contextmanager
def watched() -> Iterator[list[str]]:
    """Search every log line that is rendered, and yield a list that collects those with a secret.

    Inside a nested `watched`, only the inner one collects. All logging goes through structlog's formatter,
    the only place that sees the text as it is written. One search per line costs no measurable time.
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
    """Check that no secret is written while the body runs.

    The search covers this process's log lines, the output that pytest captured, the standard error of
    commands, and the log files of processes and servers in or below ``folder``.

    Raises:
        AssertionError: a secret was written.
    """
    global _outputs  # noqa: PLW0603 - one for the run, like pytest's captured output
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
