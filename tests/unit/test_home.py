"""The home of a local deployment: files that cannot be used are named, with the remedy."""

import json
from pathlib import Path

import pytest

from db.local.processes.process import ProcessError
from db.local.run.home import Home, HomeError
from db.local.servers.installation import Installation
from db.local.servers.rabbitmq import RabbitNode


def test_secrets_are_made_once(tmp_path: Path) -> None:
    made = Home(tmp_path).read_secrets()
    assert Home(tmp_path).read_secrets() == made
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_an_older_homes_secrets_are_kept_and_what_they_lack_is_added_once(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    older = {"superuser_password": "a", "owner_password": "b", "app_password": "c", "deployments": {}}
    file.write_text(json.dumps(older))
    added = Home(tmp_path).read_secrets()
    assert added.signup_amqp_password
    assert json.loads(file.read_text()) == {**older, "signup_amqp_password": added.signup_amqp_password}
    assert file.stat().st_mode & 0o777 == 0o600
    assert Home(tmp_path).read_secrets() == added


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b'{"owner_password": 5}', b"\xff", b'{"deployments": []}']
)
def test_damaged_secrets_are_named_and_stay(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secrets.json"
    file.write_bytes(content)
    with pytest.raises(HomeError, match=r"secrets\.json is damaged .*Restore it from a copy"):
        Home(tmp_path).read_secrets()
    assert file.read_bytes() == content


def test_missing_secrets_beside_data_are_no_first_run(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(HomeError, match=r"secrets\.json is missing"):
        Home(tmp_path).read_secrets()
    assert not (tmp_path / "secrets.json").exists()


@pytest.mark.parametrize("name", ["o'hara", 'say "x"', "a\\b", "$HOME", "a\nb", "`id`"])
def test_a_path_that_rabbitmq_cannot_take_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProcessError, match="RabbitMQ cannot run in"):
        RabbitNode(tmp_path / name, Installation(tmp_path, tmp_path))
