"""TLS to RabbitMQ with a private authority: the provisioner goes over it, and refuses what it cannot trust."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from db.local.processes.waiting import LOOPBACK, free_port
from db.local.servers.debian import unpack_rabbitmq
from db.local.servers.rabbitmq import RabbitNode, get_installation
from db.settings import Settings
from tests import leaks
from tests.certificates import Certificates, issued
from tests.processes import a_provisioner, running
from tests.support import Client, eventually, provisioning, requested, sign_up, status

pytestmark = pytest.mark.rabbitmq

UNKNOWN = "certificate in certificate chain|unable to get local issuer certificate"
"""Of an authority that is not known; the words depend on whether the node sends its certificate along."""


class Secured(msgspec.Struct, frozen=True):
    """A node that listens with TLS, and the files of its certificate."""

    node: RabbitNode
    port: int
    files: Certificates

    def url(self, host: str = "localhost", query: str = "") -> str:
        """Return the node's address with TLS, whose ``query`` may name AUTHORITY or OTHER."""
        query = query.replace("AUTHORITY", str(self.files.authority)).replace("OTHER", str(self.files.other))
        plain = self.node.url.replace("amqp://", "amqps://").replace(
            f"@{LOOPBACK}:{self.node.port}", f"@{host}:{self.port}"
        )
        return f"{plain}?{query}"

    @property
    def password(self) -> str:
        return self.node.url.rpartition("@")[0].rpartition(":")[2]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    files, port = issued(tmp_path_factory.mktemp("certificates")), free_port()
    node = RabbitNode(
        tmp_path_factory.mktemp("rabbitmq"),
        get_installation() or unpack_rabbitmq(),
        config={
            "listeners.ssl.local": f"{LOOPBACK}:{port}",
            "ssl_options.cacertfile": str(files.authority),
            "ssl_options.certfile": str(files.chain),
            "ssl_options.keyfile": str(files.key),
        },
        log=leaks.output("rabbitmq-tls"),
    )
    node.start()
    yield Secured(node, port, files)
    node.kill()


async def test_a_tenant_is_provisioned_over_tls(api: Client, config: Settings, secured: Secured) -> None:
    url = secured.url(query="cafile=AUTHORITY")
    async with provisioning(msgspec.structs.replace(config, amqp_url=url)):
        await sign_up(api, "bakery")
        assert (
            secured.node.ctl("list_connections", "ssl", "state").split("\n")[-3:].count("true\trunning") >= 2
        )


@pytest.mark.parametrize(
    ("host", "query", "words"),
    [
        ("localhost", "cafile=OTHER", UNKNOWN),
        ("localhost", "", UNKNOWN),
        (LOOPBACK, "cafile=AUTHORITY", f"certificate is not valid for '{LOOPBACK}'"),
    ],
    ids=["another authority", "no authority", "another host"],
)
async def test_a_broker_that_is_not_to_be_trusted_is_told_in_one_line_and_tried_again(
    api: Client,
    config: Settings,
    secured: Secured,
    caplog: pytest.LogCaptureFixture,
    host: str,
    query: str,
    words: str,
) -> None:
    async with provisioning(msgspec.structs.replace(config, amqp_url=secured.url(host, query))):
        tenant = await requested(api, "bakery")

        async def tried_again() -> bool:
            return len(lost(caplog)) > 1

        await eventually(tried_again, what="the second line")
        assert await status(api, tenant) == "pending"
    for entry in lost(caplog):
        assert "the broker's certificate is refused: " in entry["error"]
        assert re.search(words, entry["error"])
        assert "see the host and cafile in AMQP_URL" in entry["error"]
        assert "\n" not in entry["error"]
    assert [record for record in caplog.records if record.exc_info] == []
    assert secured.password not in caplog.text


def lost(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    entries = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [entry for entry in entries if entry["event"] == "broker connection lost"]


async def test_a_plain_port_is_told_from_one_with_tls(
    config: Settings, secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    url = secured.url(query="cafile=AUTHORITY").replace(f":{secured.port}", f":{secured.node.port}")
    async with provisioning(msgspec.structs.replace(config, amqp_url=url)):

        async def told() -> bool:
            return any("no TLS with the broker" in entry["error"] for entry in lost(caplog))

        await eventually(told, what="the line")


async def test_a_file_that_is_not_there_is_refused_at_the_start(config: Settings, secured: Secured) -> None:
    url = secured.url(query="cafile=/nowhere.pem")
    async with running(a_provisioner(msgspec.structs.replace(config, amqp_url=url))) as process:

        async def ended() -> bool:
            return not process.alive

        await eventually(ended, within=60, what="the end")
        assert process.exit_code == 2
        assert process.tail().strip() == (
            "provisioner: AMQP_URL: cafile: /nowhere.pem cannot be read: No such file or directory"
        )
