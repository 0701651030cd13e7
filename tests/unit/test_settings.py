"""Settings: read from the environment, and a wrong value is refused by its name."""

from pathlib import Path

import msgspec
import pytest

from db import settings
from db.settings import Settings, SettingsError


def test_defaults_need_no_environment() -> None:
    assert settings.load({}) == Settings()


def test_values_are_read_by_their_fields_name_in_capitals() -> None:
    config = settings.load(
        {"SIGNUP": "open", "POOL_SIZE": "3", "RELAY_POLL": "0.5", "ALEMBIC_CONFIG": "x.ini"}
    )
    assert (config.signup, config.pool_size, config.relay_poll) == ("open", 3, 0.5)
    assert config.alembic_config == Path("x.ini")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIGNUP", "maybe"),
        ("POOL_SIZE", "0"),
        ("POOL_SIZE", "many"),
        ("RELAY_POLL", "-1"),
        ("ATTEMPT_LIMIT", "7"),
        ("DATABASE_URL", "mysql://x"),
        ("AMQP_URL", "http://x"),
    ],
)
def test_wrong_values_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        settings.load({name: value})


def test_a_missing_setting_is_asked_for_by_name() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        Settings().require("database_url")


def test_an_address_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(Settings(database_url="postgresql://u:secret@h/d"))


def test_a_shell_beside_make_run_needs_no_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {
        "database_url": "postgresql://a@h/d",
        "owner_database_url": "postgresql://o@h/d",
        "amqp_url": None,
    }
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(addresses))
    for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "AMQP_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path))
    assert settings.load().owner_database_url == "postgresql://o@h/d"
    monkeypatch.setenv("OWNER_DATABASE_URL", "postgresql://mine@h/d")
    assert settings.load().owner_database_url == "postgresql://mine@h/d"
    assert settings.load().database_url is None  # a shell with addresses of its own gets no others


def test_every_setting_is_documented() -> None:
    from typing import get_type_hints

    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        assert hints[field.name].__metadata__[0].description, field.name
