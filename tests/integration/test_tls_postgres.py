"""TLS to PostgreSQL with a private authority: every program goes over it, and refuses what it cannot trust.

The test's server has no TLS, so PgBouncer, in session mode, has it in front of the server, and lets nobody in without.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import pytest

from db.session import address
from db.session.address import AddressError
from db.settings import Settings
from tests.certificates import Certificates, issued
from tests.journey import everything_works
from tests.pgbouncer import PgBouncer, pooled, through
from tests.processes import a_provisioner, running
from tests.shell import typed
from tests.support import eventually, serving

WRONG: Final = {
    "authority": (
        "localhost",
        "sslmode=verify-full&sslrootcert=OTHER",
        "unable to get local issuer certificate",
    ),
    "host": (
        "127.0.0.1",
        "sslmode=verify-full&sslrootcert=AUTHORITY",
        "certificate is not valid for '127.0.0.1'",
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issued(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def front(config: Settings, tmp_path: Path, files: Certificates) -> AsyncIterator[PgBouncer]:
    async with pooled(
        tmp_path / "pooler",
        config,
        client_tls_sslmode="require",
        client_tls_cert_file=files.chain,
        client_tls_key_file=files.key,
    ) as pooler:
        yield pooler


def over(front: PgBouncer, files: Certificates, config: Settings, host: str, query: str) -> Settings:
    """Return settings whose addresses go through the pooler."""
    query = query.replace("AUTHORITY", str(files.authority)).replace("OTHER", str(files.other))
    return through(front, config, host, query)


@pytest.fixture
def secured(front: PgBouncer, files: Certificates, config: Settings) -> Settings:
    return over(front, files, config, "localhost", "sslmode=verify-full&sslrootcert=AUTHORITY")


async def test_every_program_goes_over_tls(
    secured: Settings,
    front: PgBouncer,
    config: Settings,
    owner: asyncpg.Connection,
    tmp_path: Path,
    operator_token: str,
) -> None:
    with pytest.raises(asyncpg.PostgresError, match="SSL required"):
        await asyncpg.connect(front.url(config.require("database_url"), query="sslmode=disable"))
    await everything_works(secured, owner, tmp_path / "newer", operator_token)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_certificate_that_is_not_to_be_trusted_is_refused_by_each_program(
    front: PgBouncer, files: Certificates, config: Settings, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    host, query, words = WRONG[wrong]
    doubtful = over(front, files, config, host, query)
    words = "the certificate of PostgreSQL's server is refused: " + words
    with pytest.raises(AddressError) as refused:
        await address.connect(doubtful.require("database_url"))
    assert words in str(refused.value).replace("Hostname mismatch, ", "").replace("IP address mismatch, ", "")
    words = str(refused.value)
    for command in (
        ("litestar", "doctor"),
        ("litestar", "bootstrap"),
        ("alembic", "-x", "tenant=shared", "current"),
    ):
        done = await typed(doubtful, *command)
        assert done.code in {1, 2, 255}
        told = " ".join((done.out + done.err).replace("│", " ").split())
        assert words in told
        assert "Traceback" not in told
    async with running(a_provisioner(doubtful)) as process:

        async def ended() -> bool:
            return not process.alive

        await eventually(ended, what="the end")
        assert process.exit_code == 2
        assert f"OWNER_DATABASE_URL: {words}" in process.tail()
        assert "Traceback" not in process.tail()
    async with serving(doubtful) as api:
        assert (await api.get("/health/ready")).json()["postgres"] == "down"
        assert (await api.get("/users")).status_code == 401

        async def told_by_listener() -> bool:
            return any(
                "not listening" in line and words in line for line in capsys.readouterr().err.splitlines()
            )

        await eventually(told_by_listener, what="the line")


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(config: Settings) -> None:
    url = f"{config.database_url}?sslmode=require"
    with pytest.raises(
        AddressError, match="rejected SSL upgrade: it has no TLS, which sslmode in the address asks for"
    ):
        await address.connect(url)
    done = await typed(msgspec.structs.replace(config, owner_database_url=url), "litestar", "tokens", "list")
    assert done.code == 2
    assert "it has no TLS" in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=verify-ful", "sslmode=verify-ful is none of"),
        ("sslmode=verify-full&sslrootcert=/nowhere.pem", "sslrootcert: /nowhere.pem cannot be read"),
    ],
)
async def test_what_is_wrong_in_an_address_is_told_by_its_name(
    config: Settings, query: str, words: str
) -> None:
    wrong = msgspec.structs.replace(config, owner_database_url=f"{config.owner_database_url}?{query}")
    for command in (("litestar", "tokens", "list"), ("alembic", "current"), ("python", "-m", "provisioner")):
        done = await typed(wrong, *command)
        assert done.code in {2, 255}
        told = " ".join((done.out + done.err).replace("│", " ").split())
        assert f"OWNER_DATABASE_URL: {words}" in told
        assert "Traceback" not in told


async def test_variables_stand_in_for_what_an_address_leaves_out(
    front: PgBouncer, files: Certificates, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = front.url(config.require("database_url"), host="localhost")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(files.other))
    with pytest.raises(AddressError, match="is refused"):
        await address.connect(url)
    monkeypatch.setenv("PGSSLROOTCERT", str(files.authority))
    connection = await address.connect(url)
    assert await connection.fetchval("SELECT current_user") == "tenantry_app"
    await connection.close()
