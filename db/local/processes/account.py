"""The unprivileged user that a server runs as if its supervisor is root."""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from stat import S_IXGRP, S_IXOTH, S_IXUSR
from typing import NamedTuple


class Account(NamedTuple):
    """A user to run a server as.

    ``reach`` asks for the right to pass directories that are closed to the user.
    """

    uid: int
    gid: int
    reach: bool

    @property
    def arguments(self) -> tuple[str, str, str]:
        """The account as the launcher's arguments."""
        return str(self.uid), str(self.gid), "reach" if self.reach else "plain"


def unprivileged(home: Path, needed: Iterable[Path]) -> Account | None:
    """Return the user for a server that refuses to run as root.

    The user is the owner of ``home`` if that is not root, so that the owner can run the server later
    without being root. Otherwise the user is ``nobody``.

    Args:
        home: an existing directory in which the server keeps its data.
        needed: other paths that the server must reach.

    Returns:
        The user, or None if this process is not root. Then the server runs as this process's user.
    """
    if os.geteuid() != 0:
        return None
    owner = home.stat()
    uid, gid = owner.st_uid, owner.st_gid
    if uid == 0:
        try:
            entry = pwd.getpwnam("nobody")
            uid, gid = entry.pw_uid, entry.pw_gid
        except KeyError:
            uid = gid = 65534
    closed = not all(_reachable(path.resolve(), uid, gid) for path in (home, *needed))
    return Account(uid, gid, reach=closed)


def _reachable(path: Path, uid: int, gid: int) -> bool:
    for directory in path.parents if path.is_file() else (path, *path.parents):
        state = directory.stat()
        if state.st_uid == uid:
            bit = S_IXUSR
        elif state.st_gid == gid:
            bit = S_IXGRP
        else:
            bit = S_IXOTH
        if not state.st_mode & bit:
            return False
    return True
