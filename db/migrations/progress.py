"""Progress: how far a command has come with the schemas, told on stderr while it works.

At a terminal it is a bar. Elsewhere, as in the log of a deployment, it is a line now and then.
"""

import sys
import time
from types import TracebackType
from typing import Any, Final, Self, TextIO

import click

_EVERY: Final = 5.0
"""Seconds between two lines."""


class Progress:
    """How far a command has come. A context manager; the last line is written at its end.

    Args:
        label: what is done.
        total: the number of schemas. One alone needs no progress, and none is told.
        stream: where to tell it.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._done = self._failed = 0
        self._told: tuple[int, float] = (0, time.monotonic())
        self._bar: Any = (
            click.progressbar(
                length=total,
                label=label,
                file=self._stream,
                show_pos=True,
                item_show_func=lambda _: self._failures(),
                update_min_steps=max(total // 500, 1),
            )
            if total > 1 and self._stream.isatty()
            else None
        )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, traceback)
        elif self._done != self._told[0]:
            self._tell()

    def step(self, failed: int) -> None:
        """Count a schema that is done with.

        Args:
            failed: the number of schemas that failed so far.
        """
        self._done += 1
        self._failed = failed
        if self._bar is not None:
            self._bar.update(1)
        elif time.monotonic() - self._told[1] >= _EVERY:
            self._tell()

    def _tell(self) -> None:
        self._told = (self._done, time.monotonic())
        if self._total > 1:
            failures = self._failures()
            more = f", {failures}" if failures else ""
            print(f"{self._label}: {self._done} of {self._total}{more}", file=self._stream, flush=True)

    def _failures(self) -> str | None:
        return f"{self._failed} failed" if self._failed else None
