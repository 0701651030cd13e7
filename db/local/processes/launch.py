"""A script that starts a program which ends with its supervisor, as an unprivileged user if one is given.

The script is run by path with ``python -I -S``, so it must not import the project. The program replaces it
and keeps its process id. Arguments: the death signal, the supervisor's process id, a user id and a group id
(-1: no change), ``reach`` or ``plain``, then the program and its arguments.

Sources: PR_SET_PDEATHSIG in prctl(2); ambient capabilities and the effect of setuid in capabilities(7).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1


def _system_call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _become(uid: int, gid: int, *, reach: bool) -> None:
    """Change to another user. If ``reach`` is true, keep the right to pass closed directories."""
    if reach:
        _system_call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reach:
        bit = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; twice
        _system_call("capset", header, data)
        _system_call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _end_with(supervisor: int, death_signal: int) -> None:
    """Make the kernel send ``death_signal`` to this process when the supervisor ends (on Linux)."""
    if sys.platform == "linux":
        _system_call("prctl", PR_SET_PDEATHSIG, death_signal, 0, 0, 0)  # after setuid, which clears it
    if os.getppid() != supervisor:
        sys.exit("the supervisor has ended meanwhile")


def main(arguments: list[str]) -> None:
    """Prepare this process as ``arguments`` say, and replace it with the program."""
    death_signal, supervisor, uid, gid = (int(text) for text in arguments[:4])
    if uid >= 0:
        _become(uid, gid, reach=arguments[4] == "reach")
    _end_with(supervisor, death_signal)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores some of them, and exec keeps ignored signals
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(arguments[5], arguments[5:])


if __name__ == "__main__":
    main(sys.argv[1:])
