"""Columns of every kind are written and read through a resource, as the OpenAPI document says."""

from typing import Any

import pytest

from tests.isolation import Resident
from tests.support import Client, problem

EVERYTHING: dict[str, Any] = {
    "title": "Everything",
    "meta": {"a": [1, None, {"b": "ü"}], "c": True, "d": 1.5, "e": 10**30},
    "raw": [{"z": 1, "a": 2}],
    "tags": ["x", None, 'quoted "', "{}"],
    "grid": [[1, 2], [3, 4]],
    "facts": [{"a": 1}, {}],
    "addresses": ["10.0.0.1", "::1"],
    "span": {"lower": 1, "upper": 5, "bounds": "[)"},
    "days": {"lower": "2026-01-01", "upper": None, "bounds": "[)"},
    "amounts": {"lower": "1.50", "upper": "2.25", "bounds": "(]"},
    "booked": {"lower": "2026-01-01T10:00:00Z", "upper": "2026-01-01T11:00:00Z", "bounds": "[)"},
    "spans": [
        {"lower": 1, "upper": 3, "bounds": "[)"},
        {"lower": 7, "upper": None, "bounds": "[)"},
    ],
    "address": "192.168.0.1/24",
    "network": "10.0.0.0/8",
    "mac": "08:00:2b:01:02:03",
    "price": "12345678.1250",
    "exact": "123456789012345678901234567890.123456789012345678901234567890",
    "big": 2**63 - 1,
    "wait": "P3DT3723.000001S",
    "day": "2026-12-24",
    "hour": "18:30:00.000001",
    "moment": "2026-12-24T17:30:00Z",
    "local": "2026-12-24T18:30:00",
    "content": "AP8QIA==",
    "ratio": 0.1,
    "kind": "round",
    "parent_id": None,
    "later_id": 1,
    "rank": 7,
}


async def make(things: Client, resident: Resident, **fields: Any) -> dict[str, Any]:
    answer = await things.post("/things", headers=resident.headers, json=fields)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def found(things: Client, resident: Resident, **query: Any) -> list[str]:
    """Return the titles of all pages of a list."""
    titles: list[str] = []
    params = {"limit": 2, **query}
    while True:
        answer = await things.get("/things", headers=resident.headers, params=params)
        assert answer.status_code == 200, answer.text
        titles += [item["title"] for item in answer.json()["items"]]
        params["cursor"] = answer.json()["next_cursor"]
        if params["cursor"] is None:
            return titles


async def test_what_is_written_is_read(things: Client, resident: Resident) -> None:
    made = await make(things, resident, **EVERYTHING)
    assert {name: made[name] for name in EVERYTHING} == EVERYTHING
    assert made["twice"] == "24691356.2500"
    path = f"/things/{made['id']}"
    assert (await things.get(path, headers=resident.headers)).json() == made
    page = await things.get("/things", headers=resident.headers)
    assert page.json() == {"items": [made], "next_cursor": None}


async def test_every_column_can_be_changed(things: Client, resident: Resident) -> None:
    plain = await make(things, resident, title="Plain")
    assert plain["meta"] == {"made": "by default"}
    assert (plain["raw"], plain["price"], plain["twice"]) == (None, None, None)
    for name, value in EVERYTHING.items():
        answer = await things.patch(f"/things/{plain['id']}", headers=resident.headers, json={name: value})
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()[name] == value, name
    cleared = {"span": None, "tags": None, "raw": None}
    answer = await things.patch(f"/things/{plain['id']}", headers=resident.headers, json=cleared)
    assert {name: answer.json()[name] for name in cleared} == cleared


@pytest.mark.parametrize(
    ("field", "written", "read"),
    [
        ("span", {"lower": 1, "upper": 4, "bounds": "[]"}, {"lower": 1, "upper": 5, "bounds": "[)"}),
        ("span", {"bounds": "empty"}, {"lower": None, "upper": None, "bounds": "empty"}),
        ("span", {}, {"lower": None, "upper": None, "bounds": "()"}),
        ("address", "192.168.0.1/32", "192.168.0.1"),
        ("price", 1.5, "1.5000"),
        ("wait", "PT26H", "P1DT7200S"),
        ("meta", {}, {}),
        ("tags", [], []),
    ],
)
async def test_values_are_shown_as_postgresql_keeps_them(
    things: Client, resident: Resident, field: str, written: Any, read: Any
) -> None:
    assert (await make(things, resident, title="x", **{field: written}))[field] == read


ROWS: list[dict[str, Any]] = [
    {"price": "10", "big": 2**60, "wait": "PT5S", "day": "2026-01-02", "hour": "10:00:00", "content": "AA=="},
    {
        "price": "9.5",
        "big": 2**60 + 1,
        "wait": "P1D",
        "day": "2026-01-01",
        "hour": "09:00:00",
        "content": "/w==",
    },
    {"price": "9.5", "big": -1, "wait": "PT1H", "day": "2025-01-01", "hour": "23:59:59.5", "content": ""},
]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("price", "bca"),
        ("big", "cab"),
        ("wait", "acb"),
        ("day", "cba"),
        ("hour", "bac"),
        ("content", "cab"),
        ("moment", "abc"),
    ],
)
async def test_pages_are_in_order(things: Client, resident: Resident, order: str, expected: str) -> None:
    for title, row in zip("abc", ROWS, strict=True):
        await make(things, resident, title=title, **row)
    assert "".join(await found(things, resident, order=order, limit=1)) == expected
    assert "".join(await found(things, resident, order=f"-{order}", limit=1)) == expected[::-1]


async def test_filters_have_the_types_of_their_columns(things: Client, resident: Resident) -> None:
    for title, row in zip("abc", ROWS, strict=True):
        await make(things, resident, title=title, meta={"made": title}, tags=[title, "x"], **row)
    await make(things, resident, title="d", address="10.0.0.1")
    for query, expected in (
        ({"made": "b"}, "b"),
        ({"tags": ["x", "c"]}, "c"),
        ({"tags": "x"}, "abc"),
        ({"address": "10.0.0.1"}, "d"),
        ({"day": "2026-01-01"}, "b"),
        ({"price_before": "9.6"}, "bc"),
        ({"wait_since": "PT1H"}, "bc"),
        ({"big": 2**60 + 1}, "b"),
    ):
        assert "".join(await found(things, resident, **query)) == expected, query
    wrong = await things.get("/things", headers=resident.headers, params={"address": "nowhere"})
    assert problem(wrong, 400, "validation")["errors"][0]["field"] == "address"


async def test_the_document_says_what_is_read_and_written(things: Client) -> None:
    document = (await things.get("/schema/openapi.json")).json()
    fields = document["components"]["schemas"]["ThingOut"]["properties"]
    types = {name: (fields[name].get("oneOf") or [fields[name]])[0] for name in fields}
    assert {name: kind.get("type") for name, kind in types.items() if "$ref" not in kind and kind} == {
        **dict.fromkeys(("id", "big", "parent_id", "later_id", "rank"), "integer"),
        **dict.fromkeys(("tags", "grid", "facts", "addresses", "spans"), "array"),
        **dict.fromkeys(("title", "address", "network", "mac"), "string"),
        **dict.fromkeys(("price", "exact", "twice", "wait", "day", "hour"), "string"),
        **dict.fromkeys(("moment", "local", "content", "code"), "string"),
        "meta": "object",
        "kind": ["null", "string"],
        "ratio": "number",
    }
    formats = {name: types[name].get("format") for name in ("wait", "day", "hour", "moment", "code")}
    assert list(formats.values()) == ["duration", "date", "time", "date-time", "uuid"]
    assert types["content"]["contentEncoding"] == "base64"
    reference = types["span"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][reference]["properties"]) == {"lower", "upper", "bounds"}
