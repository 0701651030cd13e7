"""One server or supervisor a directory."""

import fcntl
import os
from pathlib import Path


class InUseError(RuntimeError):
    """Another process holds the directory."""


class DirectoryLock:
    """An exclusive lock on a directory, which ends with the process that holds it; see flock(2).

    Args:
        directory: an existing directory; the lock is its file ``lock``.
        purpose: what messages say that the directory is used for.
    """

    def __init__(self, directory: Path, purpose: str) -> None:
        self._path = directory / "lock"
        self._purpose = purpose
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock, unless this object has it.

        Raises:
            InUseError: another process, or another object of this one, has it.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            message = f"{self._path.parent} is in use: {self._purpose} (process {holder})"
            raise InUseError(message) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if this object has it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
