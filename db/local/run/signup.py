"""Sign-up of the first tenant of ``make run``, through the public API."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, NamedTuple

from db import domain
from db.local.processes.watch import say
from db.local.run.home import Deployment, TenantAccess

FIRST_ROW: tuple[str, dict[str, Any]] | None = getattr(domain, "FIRST_ROW", None)
"""Path and body of the request that writes the first tenant's first row, if the domain defines one."""

SLUG = "bakery"
_NAME = "Bakery"
_TIMEOUT = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_REQUEST_TIMEOUT = 10.0


class SignupError(Exception):
    """The first tenant could not be signed up or used. The message says why."""


class Answer(NamedTuple):
    """A response of the API: its status and its JSON body."""

    status: int
    body: dict[str, Any]


class Client:
    """A minimal client of the API on loopback, which uses no proxy.

    Args:
        base: the API's address.
        stopping: once it is set, `until` sends no more requests.
    """

    def __init__(self, base: str, stopping: threading.Event) -> None:
        self._base = base
        self._stopping = stopping
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send a request and return the response. An underscore in a header's name stands for a hyphen.

        Raises:
            OSError: the API cannot be reached.
        """
        data = None if body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json", **names}, method=method
        )
        try:
            with self._opener.open(request, timeout=_REQUEST_TIMEOUT) as response:
                return Answer(response.status, _decode(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _decode(error.read()))

    def until(self, request: Callable[[], Answer], done: Callable[[Answer], bool], what: str) -> Answer:
        """Repeat a request until its answer is final, for at most two minutes, and return the answer.

        Pauses get longer while the API cannot be reached or answers 5xx.

        Args:
            request: sends the request.
            done: returns True if the answer is final.
            what: begins the message of the error.

        Raises:
            SignupError: there was no final answer in time, or the supervisor stops.
        """
        deadline = time.monotonic() + _TIMEOUT
        pause, last = _FIRST_PAUSE, "no answer"
        while time.monotonic() < deadline and not self._stopping.wait(pause):
            try:
                answer = request()
            except (OSError, HTTPException) as error:
                last = str(error)
            else:
                if done(answer):
                    return answer
                last = f"status {answer.status} {answer.body.get('detail', answer.body.get('status', ''))}"
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    continue
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        raise SignupError(f"{what}: {last}")


def wait_until_ready(client: Client) -> None:
    """Wait for the API to be ready.

    Raises:
        SignupError: the API was not ready within two minutes.
    """
    client.until(
        lambda: client.send("GET", "/health/ready"),
        lambda answer: answer.status == HTTPStatus.OK,
        "the API did not become ready",
    )


def first_tenant(client: Client, deployment: Deployment, keep: Callable[[], None]) -> TenantAccess:
    """Sign the first tenant up, unless that has been done, and wait until the tenant is active.

    Args:
        client: a client of the running API.
        deployment: the state of the tenant, which is updated.
        keep: stores ``deployment``, so that the next run can continue an interrupted sign-up.

    Raises:
        SignupError: the API refused, or the tenant did not become active within two minutes.
    """
    if deployment.api_key is None:
        deployment.api_key = _sign_up(client, deployment.signup_key)
        keep()
    tenant = TenantAccess(SLUG, deployment.api_key)
    _wait_until_active(client, _bearer(tenant))
    return tenant


def first_row(client: Client, tenant: TenantAccess, deployment: Deployment, keep: Callable[[], None]) -> None:
    """Write the first tenant's first row, unless that has been done or the domain defines none.

    Args:
        client: a client of the running API.
        tenant: the first tenant.
        deployment: the state of the tenant, in which the row is recorded.
        keep: stores ``deployment``.

    Raises:
        SignupError: the API refused, or gave no final answer within two minutes.
    """
    if deployment.row_written or FIRST_ROW is None:
        return
    path, body = FIRST_ROW
    headers = {**_bearer(tenant), "tenant": tenant.slug}
    listed = client.until(lambda: client.send("GET", path, **headers), _is_final, f"GET {path}")
    if not listed.body.get("items"):  # an earlier run may have written it and not recorded it
        answer = client.until(lambda: client.send("POST", path, body, **headers), _is_final, f"POST {path}")
        if answer.status != HTTPStatus.CREATED:
            said = answer.body.get("detail", answer.body)
            raise SignupError(f"POST {path} answered {answer.status}: {said}")
    deployment.row_written = True
    keep()


def _sign_up(client: Client, key: str) -> str:
    body = {"name": _NAME, "slug": SLUG}
    # With this idempotency key, the API answers a repeat after an interruption and signs up no second tenant.
    answer = client.until(
        lambda: client.send("POST", "/tenants", body, Idempotency_Key=key), _is_final, "POST /tenants"
    )
    if answer.status != HTTPStatus.ACCEPTED:
        raise SignupError(f"POST /tenants answered {answer.status}: {answer.body.get('detail', answer.body)}")
    return str(answer.body["api_key"])


def _wait_until_active(client: Client, bearer: dict[str, str]) -> None:
    started = time.monotonic()
    told = ""

    def settled(answer: Answer) -> bool:
        nonlocal told
        if answer.status != HTTPStatus.OK:
            return _is_final(answer)
        status = str(answer.body.get("status"))
        if status != told:
            told = status
            say(f"  tenant {SLUG}: {status} ({time.monotonic() - started:.1f} s)")
        return status not in {"pending", "provisioning"}

    answer = client.until(
        lambda: client.send("GET", f"/tenants/{SLUG}", **bearer), settled, "it did not become active"
    )
    if answer.status != HTTPStatus.OK or answer.body.get("status") != "active":
        state = answer.body.get("status") if answer.status == HTTPStatus.OK else answer.status
        raise SignupError(f"GET /tenants/{SLUG} says {state}")


def _bearer(tenant: TenantAccess) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant.api_key}"}


def _is_final(answer: Answer) -> bool:
    return answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != HTTPStatus.TOO_MANY_REQUESTS


def _decode(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {"items": body}


def paste_lines(base: str, tenant: TenantAccess) -> str:
    """Return text with curl commands to try the API with."""
    path = FIRST_ROW[0] if FIRST_ROW else "/roles"
    return f"""\
List {path} of {tenant.slug}:
  curl -H 'tenant: {tenant.slug}' -H 'Authorization: Bearer {tenant.api_key}' {base}{path}

Sign another tenant up:
  curl -H 'Content-Type: application/json' -d '{{"name": "Florist", "slug": "florist"}}' {base}/tenants
"""
