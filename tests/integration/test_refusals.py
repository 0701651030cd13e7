"""What PostgreSQL refuses to store is a 400 or a 409 that names the constraint, and never shows a row."""

from typing import Any, cast

import pytest
from litestar import post
from litestar.params import FromQuery
from sqlalchemy import bindparam, insert

from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from db.session.statements import Statement
from db.settings import Settings
from tests.columns import Thing, ThingController
from tests.isolation import Resident
from tests.support import Client, problem, serving

SECRET = "s3cret-value"
FIRST = {"title": "First", "span": {"lower": 1, "upper": 9}, "rank": 1, "meta": {"word": SECRET}}

CONFLICTS: list[tuple[dict[str, Any], str | None]] = [
    ({"title": "First"}, "uq_things_title"),
    ({"title": "x", "span": {"lower": 8, "upper": 20}}, "ex_things_span"),
    ({"title": "x", "rank": 1}, "uq_things_rank"),  # at COMMIT
    ({"title": "x", "later_id": 999}, "fk_things_later_id"),  # at COMMIT
    ({"title": "plainly"}, None),
    ({"title": "by name"}, "no_such_title"),
]
INVALID: list[tuple[dict[str, Any], str, str | None]] = [
    ({"title": "x", "price": "-1"}, "ck_things_price", "ck_things_price"),
    ({"title": "x", "kind": SECRET}, "ck_things_kind", "ck_things_kind"),
    ({"title": "x", "parent_id": 999}, "parent_id", "fk_things_parent_id"),
    ({}, "title", None),
    ({"title": f"{SECRET} {SECRET}"}, "body", None),  # too long
    ({"title": f"{SECRET}\0"}, "body", None),
    ({"title": "x", "meta": {"word": f"{SECRET}\0"}}, "body", None),
    ({"title": "x", "price": "123456789"}, "body", None),
    ({"title": "x", "span": {"lower": 5, "upper": 1}}, "body", None),
    ({"title": "x", "mac": SECRET}, "body", None),
    ({"title": "x", "address": SECRET}, "address", None),
    ({"title": "x", "addresses": [SECRET]}, "addresses", None),
    ({"title": "x", "network": "10.0.0.1/8"}, "network", None),
    ({"title": "x", "exact": "1e1000000"}, "exact", None),
    ({"title": "x", "rank": 2**40}, "rank", None),
    ({"title": "x", "later_id": 2**40}, "later_id", None),
    ({"title": "x", "grid": [[1], [2, 3]]}, "grid", None),
    ({"title": "x", "span": {"lower": 2**40}}, "span", None),
    ({"title": "x", "moment": "2026-01-01T00:00:00"}, "moment", None),
    ({"title": "x", "moment": "0001-01-01T00:00:00+14:00"}, "moment", None),
    ({"title": "x", "local": "2026-01-01T00:00:00Z"}, "local", None),
]


@pytest.fixture
async def first(things: Client, resident: Resident) -> int:
    """A thing that others get in the way of."""
    made = await things.post("/things", headers=resident.headers, json=FIRST)
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


async def test_a_broken_constraint_is_a_conflict_that_names_it(
    things: Client, resident: Resident, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    for body, constraint in CONFLICTS:
        answer = await things.post("/things", headers=resident.headers, json=body)
        told = problem(answer, 409, "conflict")
        assert told.get("constraint") == constraint, body
        assert SECRET not in answer.text + caplog.text
    titles = (await things.get("/things", headers=resident.headers)).json()["items"]
    assert [item["title"] for item in titles] == ["First"]


async def test_an_invalid_value_is_named_by_its_field_or_constraint(
    things: Client, resident: Resident, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = await things.post("/things", headers=resident.headers, json={"title": "Other"})
    for body, field, constraint in INVALID:
        for method, path in (("POST", "/things"), ("PATCH", f"/things/{other.json()['id']}")):
            if not body and method == "PATCH":
                continue  # changes nothing
            answer = await things.request(method, path, headers=resident.headers, json=body)
            told = problem(answer, 400, "validation")
            assert [error["field"] for error in told["errors"]] == [field], (method, body, told)
            assert constraint is None or told["constraint"] == constraint
            assert SECRET not in answer.text + caplog.text, body


async def test_what_others_refer_to_is_not_deleted(things: Client, resident: Resident, first: int) -> None:
    for field, constraint in (("parent_id", "fk_things_parent_id"), ("later_id", "fk_things_later_id")):
        body = {"title": field, field: first}
        assert (await things.post("/things", headers=resident.headers, json=body)).status_code == 201
        answer = await things.delete(f"/things/{first}", headers=resident.headers)
        assert constraint in problem(answer, 409, "conflict")["constraint"]
        path = f"/things/{(await things.get('/things', headers=resident.headers)).json()['items'][-1]['id']}"
        assert (await things.delete(path, headers=resident.headers)).status_code == 204


async def test_refusals_are_logged_by_name(
    things: Client, resident: Resident, first: int, caplog: pytest.LogCaptureFixture
) -> None:
    for body, expected in (
        ({"title": SECRET, "kind": SECRET}, {"constraint": "ck_things_kind", "sqlstate": "23514"}),
        ({"title": f"{SECRET} {SECRET}"}, {"constraint": None, "sqlstate": "22001"}),
        ({"title": "x", "address": SECRET}, {"parameter": "address", "error": "DataError"}),
    ):
        caplog.clear()
        await things.post("/things", headers=resident.headers, json=body)
        (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
        line = cast("dict[str, Any]", record.msg)
        assert expected.items() <= line.items()


_ADD = Statement(
    insert(Thing).values(
        title=bindparam("a_title", type_=Thing.title.type), meta=bindparam("a_meta", type_=Thing.meta.type)
    )
)


@post("/careless", opt=tenant("users:write"))
async def careless(request: ApiRequest, title: FromQuery[str], amount: FromQuery[int]) -> None:
    """Write a thing by a statement of its own, as a controller may, and catch nothing."""
    async with request.auth.transaction() as transaction:
        await transaction.fetch(_ADD, a_title=title, a_meta={"amount": amount})


async def test_any_controllers_statement_is_answered_alike(released: Settings, resident: Resident) -> None:
    async with serving(released, careless, ThingController) as api:
        path = "/careless?title=First&amount=5"
        assert (await api.post(path, headers=resident.headers)).status_code == 201
        (item,) = (await api.get("/things", headers=resident.headers)).json()["items"]
        assert item["meta"] == {"amount": 5}
        told = problem(await api.post(path, headers=resident.headers), 409, "conflict")
        assert "uq_things_title" in told["constraint"]
        long = await api.post(f"/careless?title={'x' * 21}&amount=5", headers=resident.headers)
        problem(long, 400, "validation")
