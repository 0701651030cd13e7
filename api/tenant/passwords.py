"""Passwords: hashed and checked with argon2id in threads, off the event loop.

The parameters are argon2-cffi's defaults (RFC 9106, low-memory).
"""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()
_THREADS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="argon2")
"""Few, because each hash takes 64 MB while it is computed."""


async def hashed(password: str) -> str:
    """Return the argon2id hash of a password."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, password)


async def matches(password: str, known: str | None) -> bool:
    """Return whether a password matches a hash.

    Args:
        password: the password as it was sent.
        known: the hash to compare with. If it is None, the result is False, but takes as long to compute.
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
