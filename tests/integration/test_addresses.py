"""One address works alike for the API, the provisioner's listener, alembic, doctor and bootstrap."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from api.cli import doctor
from db import bootstrap
from db.local.servers.postgres import PostgresServer
from db.migrations.move import driver
from db.migrations.schemas import Schemas
from db.session import address
from db.session.tenancy import Database
from db.settings import PROJECT, Settings
from tests import leaks
from tests.shell import typed
from tests.support import APP_PASSWORD, OWNER_PASSWORD


class Listening(msgspec.Struct, frozen=True):
    """A bootstrapped server that listens on a port and on a socket, and a superuser's login."""

    port: int
    socket: str
    superuser: str
    password: str


@pytest.fixture(scope="module")
def socket_folder() -> Iterator[str]:
    """Yield a folder with a short path, as sockets need it, that the server's user may write to."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listening(tmp_path_factory: pytest.TempPathFactory, socket_folder: str) -> AsyncIterator[Listening]:
    server = PostgresServer(
        tmp_path_factory.mktemp("addresses"),
        settings={"fsync": "off", "unix_socket_directories": socket_folder},
        log=leaks.output("addresses"),
    )
    await asyncio.to_thread(server.start)
    url = address.with_database(server.superuser_url, "shop")
    await bootstrap.bootstrap(url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)
    port = int(server.superuser_url.rpartition(":")[2].partition("/")[0])
    superuser, password = address.login(server.superuser_url)
    assert superuser is not None
    assert password is not None
    yield Listening(port, socket_folder, superuser, password)
    await asyncio.to_thread(server.stop)


FORMS = {
    "plain": "postgresql://USER:PASS@127.0.0.1:PORT/shop",
    "several hosts": "postgresql://USER:PASS@127.0.0.1:1,127.0.0.1:PORT/shop?target_session_attrs=read-write",
    "sslmode": "postgresql://USER:PASS@127.0.0.1:PORT/shop?sslmode=prefer",
    "application": "postgres://USER:PASS@127.0.0.1:PORT/shop?application_name=my%20shop",
    "options": "postgresql://USER:PASS@127.0.0.1:PORT/shop?options=-c%20work_mem%3D5MB",
    "socket as host": "postgresql://USER:PASS@SOCKET:PORT/shop",
    "socket in query": "postgresql:///shop?host=SOCKET&port=PORT&user=USER&password=PASS",
    "login in query": "postgresql://127.0.0.1:PORT?user=USER&password=PASS&dbname=shop",
}


def written(form: str, at: Listening, user: str, password: str) -> str:
    socket = quote(at.socket, safe="")
    filled = form.replace("PORT", str(at.port)).replace("SOCKET", socket)
    return filled.replace("USER", user).replace("PASS", password)


@pytest.mark.parametrize("name", FORMS)
async def test_an_address_works_for_every_program(listening: Listening, name: str) -> None:
    app = written(FORMS[name], listening, "tenantry_app", APP_PASSWORD)
    owner = written(FORMS[name], listening, "tenantry_owner", OWNER_PASSWORD)
    config = Settings(database_url=app, owner_database_url=owner)
    database = await Database.connect(app, size=1, acquire_timeout=5)
    async with database.shared() as connection:
        assert await connection.fetchval("SELECT current_user") == "tenantry_app"
        if name == "application":
            assert await connection.fetchval("SHOW application_name") == "my shop"
    await database.close()
    schemas = Schemas(config, PROJECT / "alembic.ini")
    assert (await schemas.shared()).revision == schemas.lineage("shared").head
    async with schemas.connected("shared") as engine:
        raw = await driver(engine)
        if name == "options":
            assert await raw.fetchval("SHOW work_mem") == "5MB"
        assert await raw.fetchval("SHOW search_path") == "pg_catalog"
    assert await doctor.examine(config) == []


@pytest.mark.parametrize("name", ["plain", "login in query"])
async def test_bootstrap_never_tells_the_superusers_password(listening: Listening, name: str) -> None:
    superuser = written(FORMS[name], listening, listening.superuser, listening.password)
    config = Settings(superuser_database_url=superuser)
    done = await typed(config, "litestar", "bootstrap", "--rotate", "--json")
    assert done.code == 0, done.err
    assert listening.password not in done.out + done.err
    printed = msgspec.json.decode(done.out, type=dict[str, str])
    for setting, user in (("DATABASE_URL", "tenantry_app"), ("OWNER_DATABASE_URL", "tenantry_owner")):
        connection = await asyncpg.connect(printed[setting])
        assert await connection.fetchval("SELECT current_user") == user
        await connection.close()
    await bootstrap.bootstrap(superuser, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)


async def test_an_address_without_a_database_is_refused_in_words(listening: Listening) -> None:
    config = Settings(
        superuser_database_url=f"postgresql://{listening.superuser}:{listening.password}@127.0.0.1:{listening.port}/"
    )
    done = await typed(config, "litestar", "bootstrap")
    assert done.code == 2
    words = " ".join(done.err.replace("│", " ").split())  # the shell draws a box around them
    assert "the address names no database" in words
    assert "Traceback" not in done.err
