"""A lock on a directory, so that only one server or supervisor uses it."""

import fcntl
import os
from pathlib import Path


class InUseError(RuntimeError):
    """Another process has locked the directory."""


class DirectoryLock:
    """An exclusive lock on a directory, which ends with the process that holds it; see flock(2).

    Args:
        directory: an existing directory; the lock is the file ``lock`` in it.
        purpose: what the directory is used for, for error messages.
    """

    def __init__(self, directory: Path, purpose: str) -> None:
        self._path = directory / "lock"
        self._purpose = purpose
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock, unless this object holds it already.

        Raises:
            InUseError: another process, or another object in this process, holds the lock.
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
        """Release the lock, if this object holds it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
