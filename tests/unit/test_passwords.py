"""Passwords: hashed with RFC 9106's second recommended option, and matched whatever they were hashed with."""

import argon2
from argon2 import PasswordHasher

from api.tenant import passwords

OLDER = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)


def test_a_deployment_hashes_as_rfc_9106_recommends() -> None:
    used = passwords.PARAMETERS
    assert used.type is argon2.Type.ID
    assert (used.time_cost, used.memory_cost, used.parallelism) == (3, 64 * 1024, 4)  # memory in KiB
    assert argon2.extract_parameters(PasswordHasher.from_parameters(used).hash("correct horse")) == used


async def test_a_hash_matches_its_password_only() -> None:
    known = await passwords.hashed("correct horse")
    assert known.startswith("$argon2id$")
    assert await passwords.matches("correct horse", known)
    assert not await passwords.matches("correct mule", known)
    assert known != await passwords.hashed("correct horse")  # salted


async def test_a_hash_with_other_parameters_matches_too() -> None:
    assert await passwords.matches("correct horse", OLDER.hash("correct horse"))


async def test_without_a_hash_and_with_a_broken_one_nothing_matches() -> None:
    assert not await passwords.matches("correct horse", None)
    assert not await passwords.matches("correct horse", "$argon2id$broken")
