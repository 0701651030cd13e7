"""Passwords: hashed and checked with argon2id in threads, off the event loop.

The parameters are the second recommended option of RFC 9106, section 4.
"""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import argon2
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

PARAMETERS: Final = argon2.profiles.RFC_9106_LOW_MEMORY
HASHER: Final = PasswordHasher.from_parameters(PARAMETERS)
_THREADS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="argon2")
"""Few, because each hash takes 64 MB while it is computed."""


async def hashed(password: str) -> str:
    """Return the argon2id hash of a password."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, HASHER.hash, password)


async def matches(password: str, known: str | None) -> bool:
    """Return whether a password matches a hash.

    Args:
        password: the password as it was sent.
        known: the hash to compare with. If it is None, the result is False, but takes as long to compute.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _matches, password, known)


def _matches(password: str, known: str | None) -> bool:
    try:
        HASHER.verify(known or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return known is not None


@cache
def _nobodys() -> str:
    return HASHER.hash(secrets.token_hex(16))
