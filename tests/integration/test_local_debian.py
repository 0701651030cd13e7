"""RabbitMQ and PgBouncer from unpacked packages: where none is installed, the suite runs on these."""

from pathlib import Path

import pytest

from db.local.servers import debian
from db.local.servers.debian import (
    UnpackError,
    default_cache,
    is_debian_like,
    unpack_pgbouncer,
    unpack_rabbitmq,
)
from db.local.servers.rabbitmq import RabbitNode

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(600)]


@pytest.mark.skipif(not is_debian_like(), reason="the system is not Debian-like")
def test_an_unpacked_server_runs_on_its_own_erlang(tmp_path: Path) -> None:
    installation = unpack_rabbitmq()
    assert installation.scripts.is_relative_to(default_cache())
    assert installation.version
    node = RabbitNode(tmp_path / "rabbitmq", installation)
    node.start()
    try:
        root = node.ctl("eval", "code:root_dir().").strip().strip('"')
        assert Path(root) == installation.erlang.parent
    finally:
        node.stop()


@pytest.mark.skipif(not is_debian_like(), reason="the system is not Debian-like")
def test_nothing_is_downloaded_when_the_cache_has_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    installation = unpack_rabbitmq()
    monkeypatch.setattr(debian, "_unpack", lambda _: pytest.fail("unpacked again"))
    assert unpack_rabbitmq() == installation


@pytest.mark.skipif(not is_debian_like(), reason="the system is not Debian-like")
def test_an_unpacked_pgbouncer_has_all_of_its_libraries() -> None:
    program = unpack_pgbouncer()
    assert program.path.is_relative_to(default_cache())
    assert debian.missing_libraries(default_cache() / "pgbouncer", program.path.parent) == set()


def test_a_damaged_pgbouncer_is_named(tmp_path: Path) -> None:
    (tmp_path / "pgbouncer").mkdir()
    with pytest.raises(UnpackError, match="delete it"):
        unpack_pgbouncer(tmp_path)


def test_an_interrupted_download_leaves_nothing_that_looks_like_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(scratch: Path) -> Path:
        (scratch / "tree/usr/lib/erlang").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(debian, "_unpack", interrupted)
    monkeypatch.setattr(debian, "is_debian_like", lambda: True)
    (tmp_path / "rabbitmq.new.killed").mkdir()
    with pytest.raises(KeyboardInterrupt):
        unpack_rabbitmq(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rabbitmq.lock"]


def test_a_system_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "is_debian_like", lambda: False)
    with pytest.raises(UnpackError, match="apt-get"):
        unpack_rabbitmq(tmp_path)


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq").mkdir()
    with pytest.raises(UnpackError, match="delete it"):
        unpack_rabbitmq(tmp_path)
