"""What addresses say of TLS is checked when a process starts: modes, and the files that they name."""

import os
import re
from pathlib import Path

import pytest

from db import settings, tls
from db.settings import Settings, SettingsError
from tests.certificates import Certificates, issued


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "garbled.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    return issued(folder)


@pytest.fixture(autouse=True)
def no_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's own root certificate, and what the shell says of TLS."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("PGSSL")]:
        monkeypatch.delenv(name)


def filled(text: str, files: Certificates) -> str:
    folder = files.authority.parent
    return re.sub(r"<(\w+)>", lambda found: str(folder / f"{found[1]}.pem"), text)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sslmode=disable",
        "?sslmode=prefer",
        "?sslmode=require",
        "?sslmode=verify-full&sslrootcert=<authority>",
        "?sslmode=verify_ca&sslrootcert=<authority>",
        "?sslmode=require&sslcert=<chain>&sslkey=<key>",
    ],
)
def test_what_is_well_is_taken(files: Certificates, query: str) -> None:
    tls.check_postgresql(f"postgresql://u:secret@h/shop{filled(query, files)}", {})


@pytest.mark.parametrize("name", ["database_url", "owner_database_url", "superuser_database_url"])
@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "sslmode=verify",
            "sslmode=verify is none of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        ("sslmode=on", "sslmode=on is none of"),
        ("sslmode=verify-full", "sslmode=verify-full needs sslrootcert, a file with"),
        ("sslmode=verify-ca&sslrootcert=", "sslmode=verify-ca needs sslrootcert"),
        ("sslmode=verify-full&sslrootcert=<missing>", "sslrootcert: <missing> cannot be read: No such file"),
        ("sslmode=verify-full&sslrootcert=<garbled>", "sslrootcert: <garbled> holds no certificate in PEM"),
        ("sslmode=verify-full&sslrootcert=/", "sslrootcert: / cannot be read: Is a directory"),
        ("sslmode=require&sslcert=<missing>&sslkey=<key>", "sslcert: <missing> cannot be read: No such file"),
        (
            "sslmode=require&sslcert=<chain>&sslkey=<missing>",
            "sslkey: <missing> cannot be read: No such file",
        ),
        ("sslmode=require&sslcert=<chain>", "sslcert and sslkey: no certificate in PEM with the key"),
        (
            "sslmode=require&sslcert=<authority>&sslkey=<key>",
            "sslcert and sslkey: no certificate in PEM with",
        ),
        ("sslmode=require&sslkey=<key>", "sslkey is of no use without sslcert"),
    ],
)
def test_what_is_not_is_refused_by_name(files: Certificates, name: str, query: str, words: str) -> None:
    config = settings.load({name.upper(): f"postgresql://u:secret@h/shop?{filled(query, files)}"})
    with pytest.raises(SettingsError, match=f"^{name.upper()}: {re.escape(filled(words, files))}") as refused:
        config.require(name)
    assert "secret" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_variables_stand_in_for_parameters(files: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Settings(database_url="postgresql://u@h/shop")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with pytest.raises(SettingsError, match="sslmode=verify-full needs sslrootcert"):
        config.require("database_url")
    monkeypatch.setenv("PGSSLROOTCERT", filled("<garbled>", files))
    with pytest.raises(SettingsError, match="holds no certificate"):
        config.require("database_url")
    monkeypatch.setenv("PGSSLROOTCERT", filled("<authority>", files))
    assert config.require("database_url") == config.database_url
    assert Settings(database_url="postgresql://u@h/shop?sslmode=disable").require("database_url")


def test_the_users_own_root_certificate_is_enough(files: Certificates, tmp_path: Path) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_bytes(files.authority.read_bytes())
    tls.check_postgresql("postgresql://u@h/shop?sslmode=verify-full", {})


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:secret@h/?heartbeat=5",
        "amqps://u:secret@h/",
        "amqps://u:secret@h/shop?cafile=<authority>&heartbeat=5",
        "amqps://u:secret@h/?cafile=<authority>&certfile=<chain>&keyfile=<key>",
        "amqps://u:secret@h/?no_verify_ssl=1",
    ],
)
def test_a_brokers_address_that_is_well_is_taken(files: Certificates, url: str) -> None:
    tls.check_amqp(filled(url, files))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://u:secret@h/?cafile=<authority>", "cafile is for amqps://, and this is amqp://"),
        ("amqps://u:secret@h/?cafile=", "cafile is empty"),
        ("amqps://u:secret@h/?cafile=<missing>", "cafile: <missing> cannot be read: No such file"),
        ("amqps://u:secret@h/?cafile=<garbled>", "cafile: <garbled> holds no certificate in PEM"),
        (
            "amqps://u:secret@h/?cacertfile=<authority>",
            "cacertfile is no parameter of an address: auth, cadata,",
        ),
        ("amqps://u:secret@h/?capath=<missing>", "capath: there is no folder <missing>"),
        ("amqps://u:secret@h/?certfile=<missing>&keyfile=<key>", "certfile: <missing> cannot be read"),
        ("amqps://u:secret@h/?certfile=<chain>", "certfile and keyfile: no certificate in PEM with the key"),
        ("amqps://u:secret@h/?keyfile=<key>", "keyfile is of no use without certfile"),
    ],
)
def test_a_brokers_address_that_is_not_is_refused_by_name(files: Certificates, url: str, words: str) -> None:
    config = Settings(amqp_url=filled(url, files))
    with pytest.raises(SettingsError, match=f"^AMQP_URL: {re.escape(filled(words, files))}") as refused:
        config.require("amqp_url")
    assert "secret" not in str(refused.value)
