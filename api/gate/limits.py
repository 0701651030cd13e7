"""Limits on the requests of one tenant, one token, one e-mail or one address.

Each worker counts for itself, in bounded memory. Keys are stored as keyed hashes, so that the process's
memory holds neither e-mails nor addresses.
"""

import hashlib
import math
import secrets
import time
from typing import Final
from uuid import UUID

from litestar.types import Scope

from db.errors import ProblemError
from db.settings import Settings

_MINUTE: Final = 60.0
_CAPACITY: Final = 100_000
_SECRET: Final = secrets.token_bytes(32)


class Bucket:
    """A token bucket for each key: it holds ``per_minute`` tokens and refills evenly (GCRA).

    Args:
        per_minute: tokens that a key can take per minute; 0 means no limit.
        capacity: keys to remember at most; the least recently used key is forgotten first.
    """

    def __init__(self, per_minute: int, *, capacity: int = _CAPACITY) -> None:
        self._interval = _MINUTE / per_minute if per_minute else 0.0
        self._capacity = capacity
        self._full_at: dict[bytes, float] = {}

    def take(self, key: str, *, now: float | None = None) -> float:
        """Take a token from a key's bucket.

        Args:
            key: whose bucket.
            now: seconds on a monotonic clock; `time.monotonic` by default.

        Returns:
            0 if there was a token, otherwise the seconds until there is one.
        """
        if not self._interval:
            return 0.0
        now = time.monotonic() if now is None else now
        hashed = _hashed(key)
        # Popped and put back at the end, which keeps the dictionary in the order of the last take.
        full_at = max(self._full_at.pop(hashed, now), now)
        wait = full_at + self._interval - now - _MINUTE
        if wait <= 1e-6:
            full_at += self._interval
            wait = 0.0
        self._full_at[hashed] = full_at
        if len(self._full_at) > self._capacity:
            del self._full_at[next(iter(self._full_at))]
        return wait

    def give_back(self, key: str) -> None:
        """Put a token back into a key's bucket."""
        hashed = _hashed(key)
        if hashed in self._full_at:
            self._full_at[hashed] -= self._interval


def _hashed(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), key=_SECRET, digest_size=16).digest()


class Limits:
    """All limits of one worker.

    Args:
        settings: the limits, and the number of trusted proxies.
    """

    def __init__(self, settings: Settings) -> None:
        self._tokens = Bucket(settings.rate_limit_per_minute)
        self._accounts = Bucket(settings.login_rate_limit_per_minute)
        self._addresses = Bucket(settings.address_rate_limit_per_minute)
        self._trusted_proxies = settings.trusted_proxies
        self._at_once = settings.concurrent_requests
        self._running: dict[UUID, int] = {}

    def token(self, token_id: str) -> None:
        """Count a request of a token.

        Raises:
            ProblemError: the token has sent too many requests.
        """
        _admit(self._tokens.take(token_id))

    def account(self, email: str) -> None:
        """Count an attempt to log in with an e-mail. `logged_in` takes a successful attempt back.

        Raises:
            ProblemError: there were too many attempts with this e-mail.
        """
        _admit(self._accounts.take(email))

    def logged_in(self, email: str) -> None:
        """Take back an attempt whose password was right, so that only failures count."""
        self._accounts.give_back(email)

    def address(self, scope: Scope) -> None:
        """Count a client address's request to an expensive public route.

        Raises:
            ProblemError: the address has sent too many requests.
        """
        _admit(self._addresses.take(self._address(scope)))

    def enter(self, tenant_id: UUID) -> None:
        """Count a tenant's request that begins; `leave` must follow.

        Raises:
            ProblemError: too many requests of the tenant run already.
        """
        running = self._running.get(tenant_id, 0)
        if self._at_once and running >= self._at_once:
            raise ProblemError("too-many-requests")
        self._running[tenant_id] = running + 1

    def leave(self, tenant_id: UUID) -> None:
        """Count a tenant's request that has ended."""
        running = self._running.pop(tenant_id)
        if running > 1:
            self._running[tenant_id] = running - 1

    def _address(self, scope: Scope) -> str:
        client = scope["client"]
        peer = client[0] if client else ""
        if not self._trusted_proxies:
            return peer
        # Each proxy appends the address it saw, so addresses that a client made up are further left.
        said = [
            entry.strip()
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for entry in value.decode("latin-1").split(",")
        ]
        return said[-self._trusted_proxies] if len(said) >= self._trusted_proxies else peer


def _admit(wait: float) -> None:
    if wait:
        raise ProblemError("too-many-requests", retry_after=math.ceil(wait))
