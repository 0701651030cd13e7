"""Injection: a route that puts a client's text into its SQL, and what an attacker makes of it.

The route is in this file, the injections are in tests/injections.py. The route is as careless as can be: it
even shows PostgreSQL's error messages. On a hardened database all that it gives away is the tenant's own; on a
control database without the hardening the same requests read the neighbour's canary, so that the injections
are known to bite.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import httpx
import msgspec
import pytest
from litestar import get
from litestar.params import FromQuery

from api.app import create_app
from api.cli.doctor import examine
from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from db import bootstrap
from db.server import hardening
from db.server.installation import TENANTRY
from db.settings import Settings
from tests.injections import LEFTOVERS, MEDDLES, REFUSED_ANYWAY, STACKED, STEALS, as_statements, as_subquery
from tests.isolation import Resident, settle
from tests.support import APP_PASSWORD, OWNER_PASSWORD, Client, held


@pytest.fixture
def config(config: Settings, pipeline: bool) -> Settings:
    """Settings with a tenant's role and its statement in one message, and one after the other."""
    return msgspec.structs.replace(config, pipeline=pipeline)


@get("/prepared", opt=tenant("users:read"))
async def prepared(request: ApiRequest, q: FromQuery[str]) -> dict[str, Any]:
    """Run a statement with the client's text in it as the application does: prepared, one at a time."""
    assert request.auth.tenant is not None
    try:
        async with request.auth.transaction() as transaction:
            rows = await transaction.run_text(
                "fetch",
                f"SELECT first_name FROM {request.auth.tenant.schema_name}.users WHERE first_name = '{q}'",
                [],
            )
    except asyncpg.PostgresError as error:
        return {"sqlstate": error.sqlstate, "message": str(error)}
    return {"rows": [str(row[0]) for row in rows]}


@get("/stacked", opt=tenant("users:read"))
async def stacked(request: ApiRequest, q: FromQuery[str]) -> dict[str, Any]:
    """Run it as the application never does: as text, which may be several statements."""
    assert request.auth.tenant is not None
    try:
        async with request.auth.transaction() as transaction:
            await transaction.begin()
            await transaction._link.lend().execute(
                f"SELECT first_name FROM {request.auth.tenant.schema_name}.users WHERE first_name = '{q}'"
            )
    except asyncpg.PostgresError as error:
        return {"sqlstate": error.sqlstate, "message": str(error)}
    return {"rows": []}


@asynccontextmanager
async def vulnerable(config: Settings) -> AsyncIterator[Client]:
    """The API with the two routes, and a single connection, so that each request inherits the last one's."""
    app = create_app(msgspec.structs.replace(config, pool_size=1))
    app.register(prepared)
    app.register(stacked)
    async with held(app.lifespan()):
        transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver.local") as client:
            yield client


@pytest.fixture
async def unhardened(superuser_url: str) -> AsyncIterator[Settings]:
    """Settings for the control: another database on the same server, and what PostgreSQL gives PUBLIC."""
    url = superuser_url + "_control"
    made = await bootstrap.bootstrap(
        url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD, harden=False
    )
    connection = await asyncpg.connect(url)
    await connection.execute(f"GRANT TEMPORARY ON DATABASE {url.rpartition('/')[2]} TO PUBLIC")
    await connection.close()
    yield Settings(
        database_url=made.app_url, owner_database_url=made.owner_url, signup="open", log_format="console"
    )
    server = await asyncpg.connect(superuser_url)
    await server.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
    await server.close()


async def neighbours(config: Settings) -> tuple[Resident, Resident]:
    """Make the attacker's tenant and the victim's."""
    owner = await asyncpg.connect(config.require("owner_database_url"))
    try:
        attacker, victim = await settle(owner, config, ["attacker", "victim"])
    finally:
        await owner.close()
    return attacker, victim


async def attack(api: Client, path: str, attacker: Resident, victim: Resident, text: str) -> dict[str, Any]:
    """Send an attack, and return what the route answered."""
    filled = text.replace("{victim}", victim.schema).replace("{attacker}", attacker.schema)
    answer = await api.get(path, params={"q": filled}, headers=attacker.headers)
    assert answer.status_code in {200, 503}, answer.text
    body: dict[str, Any] = answer.json()
    return {"leaked": victim.canary in answer.text, "sqlstate": body.get("sqlstate"), "body": body}


async def names(api: Client, resident: Resident) -> list[str]:
    """Return the first names of a tenant's users, as its client sees them."""
    answer = await api.get("/users", headers=resident.headers)
    assert answer.status_code == 200, answer.text
    return [user["first_name"] for user in answer.json()["items"]]


async def is_unharmed(api: Client, *residents: Resident) -> bool:
    """See that the connection, whatever it went through, serves each tenant its own."""
    return all([await names(api, resident) == [resident.canary] for resident in residents])


async def test_the_route_is_vulnerable_indeed(config: Settings) -> None:
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        own = await attack(api, "/prepared", attacker, victim, "' OR true --")
        assert own["body"] == {"rows": [attacker.canary]}
        assert not own["leaked"]


async def test_no_injected_expression_leaves_its_tenant_on_a_hardened_database(config: Settings) -> None:
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        for name, text in (STEALS | MEDDLES | REFUSED_ANYWAY).items():
            said = await attack(api, "/prepared", attacker, victim, as_subquery(text))
            assert said["sqlstate"] == "42501", (name, said)
            assert not said["leaked"], name
            assert await is_unharmed(api, victim, attacker), name


async def test_the_same_expressions_steal_and_meddle_on_an_unhardened_one(unhardened: Settings) -> None:
    attacker, victim = await neighbours(unhardened)
    async with vulnerable(unhardened) as api:
        for name, text in STEALS.items():
            said = await attack(api, "/prepared", attacker, victim, as_subquery(text))
            stolen = victim.slug if "shared" in text else victim.canary
            assert stolen in str(said["body"]), (name, said)
        for name, text in MEDDLES.items():
            said = await attack(api, "/prepared", attacker, victim, as_subquery(text))
            # Let in; XML is another matter (0A000: the server was built without it), and so is what is
            # not there to be read.
            assert said["sqlstate"] in {None, "0A000", "34000", "42704", "42501"}, (name, said)
            if said["sqlstate"] == "42501":
                assert "permission denied for function" not in said["body"]["message"], (name, said)
        for name, text in REFUSED_ANYWAY.items():
            said = await attack(api, "/prepared", attacker, victim, as_subquery(text))
            assert said["sqlstate"] == "42501", (name, said)


async def test_a_prepared_statement_is_one_statement(config: Settings) -> None:
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        for name, text in (STACKED | LEFTOVERS).items():
            said = await attack(api, "/prepared", attacker, victim, as_statements(text))
            assert said["sqlstate"] == "42601", (name, said)  # cannot insert multiple commands
        assert await is_unharmed(api, victim, attacker)


async def test_stacked_statements_find_no_way_out_but_another_tenants_role(config: Settings) -> None:
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        for name, text in STACKED.items():
            said = await attack(api, "/stacked", attacker, victim, as_statements(text))
            # Beside 42501: no such language (0A000), no schema to create in (3F000), not in a block (25001).
            assert said["sqlstate"] in {"42501", "0A000", "3F000", "25001"}, (name, said)
            assert not said["leaked"], name
            assert await is_unharmed(api, victim, attacker), name


async def test_what_stacked_statements_leave_behind_reaches_nobody(config: Settings) -> None:
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        for name, text in LEFTOVERS.items():
            for first, second in ((victim, attacker), (attacker, victim)):
                said = await attack(api, "/stacked", attacker, victim, as_statements(text))
                assert not said["leaked"], name
                assert await is_unharmed(api, first, second), name


async def test_known_whoever_chooses_a_whole_statement_chooses_the_role(config: Settings) -> None:
    """Why no text from outside may ever become a statement, which tests/unit/test_sql_text.py holds."""
    attacker, victim = await neighbours(config)
    async with vulnerable(config) as api:
        text = "SET LOCAL ROLE {victim}; SELECT first_name::int FROM {victim}.users"
        said = await attack(api, "/stacked", attacker, victim, as_statements(text))
        assert said["leaked"]
        assert not (await attack(api, "/prepared", attacker, victim, as_statements(text)))["leaked"]
        assert await is_unharmed(api, victim, attacker)


async def test_a_temporary_table_would_shadow_but_for_the_revoke_and_the_qualified_names(
    unhardened: Settings,
) -> None:
    attacker, victim = await neighbours(unhardened)
    async with vulnerable(unhardened) as api:
        text = "CREATE TEMP TABLE users AS SELECT 1 AS id, 'forged' AS first_name"
        said = await attack(api, "/stacked", attacker, victim, as_statements(text))
        assert said["sqlstate"] is None
        assert await is_unharmed(api, victim, attacker)


REVOKED = [
    *(
        (item.name, f"EXECUTE ON FUNCTION {{function:{number}}}")
        for number, item in enumerate(hardening.FUNCTIONS)
    ),
    (hardening.TEMP, "TEMPORARY ON DATABASE {database}"),
    (hardening.TEMP, "CREATE ON DATABASE {database}"),
    (hardening.PUBLIC_SCHEMA, "USAGE ON SCHEMA public"),
    (hardening.PUBLIC_SCHEMA, "CREATE ON SCHEMA public"),
    (hardening.LANGUAGES, "USAGE ON LANGUAGE sql"),
    (hardening.LANGUAGES, "USAGE ON LANGUAGE plpgsql"),
]


async def test_doctor_names_each_revoke_that_is_missing(
    config: Settings, superuser: asyncpg.Connection
) -> None:
    assert await examine(config) == []
    await superuser.execute(
        "SET allow_system_table_mods = on;"  # Citus would have brought this
        "CREATE FUNCTION pg_catalog.run_command_on_workers(text) RETURNS int LANGUAGE sql RETURN 1"
    )
    await hardening.harden(superuser, TENANTRY)
    database = await superuser.fetchval("SELECT current_database()")
    for check, right in REVOKED:
        filled = right.replace("{database}", database)
        if "{function:" in right:
            item = hardening.FUNCTIONS[int(right.partition(":")[2].rstrip("}"))]
            signatures = await superuser.fetch(hardening._FUNCTIONS, item.functions)
            assert signatures, f"no function of this server is {item.functions}"
            filled = f"EXECUTE ON FUNCTION {signatures[-1]['signature']}"
        await superuser.execute(f"GRANT {filled} TO PUBLIC")
        found = await examine(config)
        # `advisory locks` and `advisory unlock of all` both know the one function that they share.
        assert check in {finding.check for finding in found}, filled
        assert all(finding.allows and finding.problem.startswith("PUBLIC has") for finding in found)
        await superuser.execute(f"REVOKE {filled} FROM PUBLIC")
        assert await examine(config) == []


async def test_doctor_names_every_single_function_and_hardening_again_puts_it_right(
    config: Settings, superuser: asyncpg.Connection
) -> None:
    signatures = {
        row["signature"]: item.name
        for item in hardening.FUNCTIONS
        for row in await superuser.fetch(hardening._FUNCTIONS, item.functions)
    }
    assert len(signatures) > 50
    for signature, check in signatures.items():
        await superuser.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO PUBLIC")
        found = await examine(config)
        assert (check, f"PUBLIC has {signature}") in {(each.check, each.problem) for each in found}
        assert {each.problem for each in found} == {f"PUBLIC has {signature}"}
        await superuser.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC")
    for signature in signatures:
        await superuser.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO PUBLIC")
    assert {each.problem for each in await examine(config)} == {f"PUBLIC has {each}" for each in signatures}
    await hardening.harden(superuser, TENANTRY)
    assert await examine(config) == []
