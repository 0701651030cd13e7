"""Texts: one rule for each kind, on every route."""

from typing import Any

import pytest

from tests.people import PASSWORD
from tests.support import Client, Tenant, problem


async def test_one_mailbox_is_one_account_however_it_is_written(api: Client, tenant: Tenant) -> None:
    made = [
        (
            await api.post("/users", headers=tenant.headers, json={"email": email, "password": PASSWORD})
        ).status_code
        for email in ("e\u0301@example.com", "\u00e9@Example.com", "ss@example.com", "\u00df@example.com")
    ]
    assert made == [201, 409, 201, 201]
    for email in ("E\u0301@example.com", "e\u0301@EXAMPLE.com", "\u00df@example.com", "SS@example.com"):
        answer = await api.post("/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == (401 if email.startswith("E") else 200)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", {"email": "a@example.com\n"}),
        ("/users", {"email": "a@example.com", "first_name": "\x1b[2J"}),
        ("/users", {"email": "a@example.com", "last_name": " "}),
        ("/roles", {"role_name": "a\nb"}),
        ("/roles", {"role_name": "a", "role_description": "\u202e"}),
        ("/permissions", {"name": "\u2028", "title": "x"}),
        ("/permissions", {"name": "x", "title": "\x85"}),
        ("/keys", {"name": "\u200b"}),
    ],
)
async def test_names_with_controls_and_blank_ones_are_refused(
    api: Client, tenant: Tenant, path: str, body: dict[str, Any]
) -> None:
    problem(await api.post(path, headers=tenant.headers, json=body), 400, "validation")


async def test_names_that_look_the_same_are_the_same(api: Client, tenant: Tenant) -> None:
    made = await api.post("/roles", headers=tenant.headers, json={"role_name": "Cafe\u0301"})
    assert made.json()["role_name"] == "Caf\u00e9"
    again = await api.post("/roles", headers=tenant.headers, json={"role_name": "Caf\u00e9"})
    problem(again, 409, "conflict")


async def test_the_document_anchors_patterns_as_json_schema_does(api: Client) -> None:
    document = (await api.get("/schema/openapi.json")).text
    assert '"pattern":"^' in document
    assert "\\\\A" not in document
    assert "\\\\Z" not in document
