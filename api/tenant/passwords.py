"""Passwords: argon2id with the library's own parameters (RFC 9106, low-memory), off the event loop."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()
_THREADS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="argon2")
"""As many at once as 64 MB each are worth."""


async def hashed(password: str) -> str:
    """Return the argon2 hash of a password."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, password)


async def matches(password: str, known: str | None) -> bool:
    """Say whether a password is the one whose hash is known.

    Args:
        password: as somebody sent it.
        known: the hash; None where there is none, which takes as long.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _matches, password, known)


def _matches(password: str, known: str | None) -> bool:
    try:
        _HASHER.verify(known or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return known is not None


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_hex(16))
