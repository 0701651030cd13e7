"""Watching log lines for secrets, over a whole run of the tests."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.stdlib import ProcessorFormatter

SECRET = re.compile(r"(tnt|usr|opr)_[a-z2-7]{16}_[a-z2-7]{20,}|\$argon2|correct horse|(owner|app)-password")
"""A token, an argon2 hash, and the passwords that the tests use."""


_format = ProcessorFormatter.format


@contextmanager
def watched() -> Iterator[list[str]]:
    """Look at every line that is rendered, and collect those with a secret; a watch within takes over.

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
