"""The private RabbitMQ node: start, restart, crash, loss of its disk."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import psutil  # type: ignore[import-untyped]
import pytest
from pamqp.common import FieldTable
from yarl import URL

from db.local.processes.process import ProcessError, working_in
from db.local.processes.waiting import is_free, wait_until
from db.local.servers.debian import is_debian_like, unpack_rabbitmq
from db.local.servers.installation import HIDE
from db.local.servers.rabbitmq import Installation, RabbitNode, get_installation

pytestmark = pytest.mark.rabbitmq
QUORUM: FieldTable = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def installation() -> Installation:
    found = get_installation()
    if found is None and not is_debian_like():
        pytest.skip("no RabbitMQ is installed, and the system is not Debian-like")
    return found or unpack_rabbitmq()


@pytest.fixture(scope="module")
def module_node(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"), installation, config={"heartbeat": "7"})
    yield node
    node.kill()


@pytest.fixture
def node(module_node: RabbitNode) -> RabbitNode:
    module_node.start()
    return module_node


async def publish(url: str, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue, timeout=10)


async def take(url: str, queue: str) -> bytes | None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        found = await (await channel.get_queue(queue)).get(fail=False, no_ack=True)
        return found.body if found else None


async def test_a_node_answers_on_loopback_with_its_own_login(node: RabbitNode) -> None:
    await publish(node.url, "greeting", b"hello")
    assert await take(node.url, "greeting") == b"hello"
    stranger = aio_pika.Connection(URL(f"amqp://guest:guest@127.0.0.1:{node.port}/"))
    with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
        await stranger.connect()
    await stranger.close()
    assert node.pid is not None
    listening = {entry.laddr.ip for entry in psutil.Process(node.pid).net_connections() if not entry.raddr}
    assert listening == {"127.0.0.1"}


def test_rabbitmqctl_speaks_to_this_node_and_sees_its_configuration(node: RabbitNode) -> None:
    assert node.ctl("eval", "node().").strip() == "tenantry@localhost"
    assert node.ctl("eval", "application:get_env(rabbit, heartbeat).").strip() == "{ok,7}"
    with pytest.raises(ProcessError, match="no_such_command"):
        node.ctl("no_such_command")


async def test_queues_messages_and_address_survive_a_stop_that_leaves_no_process(node: RabbitNode) -> None:
    url = node.url
    await publish(url, "kept", b"after a stop")
    node.stop()
    assert not node.alive
    assert not working_in(node.home)
    assert is_free(node.port)
    node.start()
    assert node.url == url
    assert await take(url, "kept") == b"after a stop"


async def test_an_older_nodes_data_gets_the_user_for_sign_up_flows_at_its_next_start(
    node: RabbitNode, installation: Installation
) -> None:
    await publish(node.url, "kept", b"from before")
    node.stop()
    newer = RabbitNode(node.home, installation, signup_password="changed-once")
    newer.start()
    try:
        assert newer.signup_url is not None
        async with await aio_pika.connect(newer.signup_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("signup.own", exclusive=True)
        assert await take(newer.url, "kept") == b"from before"
    finally:
        newer.stop()


async def test_confirmed_messages_survive_a_kill_that_leaves_no_process(node: RabbitNode) -> None:
    await publish(node.url, "kept", b"after a kill")
    node.sync()
    node.kill()
    assert not working_in(node.home)
    node.start()
    assert await take(node.url, "kept") == b"after a kill"


async def test_a_node_killed_by_somebody_else_is_noticed_and_replaced(node: RabbitNode) -> None:
    await publish(node.url, "kept", b"after a crash")
    node.sync()
    pid = node.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not node.alive, 5)
    node.start()
    assert node.pid not in {None, pid}
    assert await take(node.url, "kept") == b"after a crash"


async def test_a_wiped_node_has_lost_its_queues_and_nothing_else(node: RabbitNode) -> None:
    await publish(node.url, "lost", b"gone")
    with pytest.raises(ProcessError, match="must be stopped"):
        node.wipe()
    node.stop()
    node.wipe()
    node.start()
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await take(node.url, "lost")


def test_a_node_that_cannot_start_is_told_with_its_log(installation: Installation, tmp_path: Path) -> None:
    broken = RabbitNode(tmp_path / "rabbitmq", installation, config={"no.such.entry": "1"})
    with pytest.raises(ProcessError, match=r"no\.such\.entry"):
        broken.start()
    assert not working_in(broken.home)


def test_a_hidden_installation_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HIDE, "1")
    assert get_installation() is None
