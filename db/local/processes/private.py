"""Files that only their owner may read."""

import os
from pathlib import Path
from typing import BinaryIO

_MODE = 0o600


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read (mode 600). The write is atomic, even if interrupted."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)  # left by an interrupted write; its mode may differ
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def append_private(path: Path) -> BinaryIO:
    """Open a file to append to it. If it is new, only its owner may read it (mode 600)."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE), "ab")
