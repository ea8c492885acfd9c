"""The embedded databases' values: command lines and URLs without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegauge import postgres, valkey
from tidegauge.postgres_tools import find_installation
from tidegauge.privileges import Account, can_enter


def test_a_replicas_command_names_its_primary_and_no_password():
    primary = postgres.PostgresServer(Path("/d/primary"), 15432)
    replica = postgres.PostgresServer(Path("/d/replica"), 15433, primary)
    assert primary.argv()[2:] == ["tidegauge.postgres", "primary", "--directory", "/d/primary", "--port", "15432"]
    assert replica.argv()[3:] == [
        "replica", "--directory", "/d/replica", "--port", "15433",
        "--primary-directory", "/d/primary", "--primary-port", "15432",
    ]  # fmt: skip
    assert replica.url("reader", "pw") == "postgresql://reader:pw@127.0.0.1:15433/reader"


@pytest.mark.parametrize("password", ["", "it's", "two words", "a\nb"])
def test_a_password_that_could_end_a_statement_is_misuse(password, capsys):
    environ = dict.fromkeys(postgres.PASSWORD_NAMES.values(), password)
    with pytest.raises(SystemExit) as raised:
        postgres.main(["primary", "--directory", "/nowhere", "--port", "1"], environ)
    assert raised.value.code == 2
    assert "expected passwords of letters, digits, - and _" in capsys.readouterr().err


def test_a_replica_without_its_primary_is_misuse(capsys):
    environ = dict.fromkeys(postgres.PASSWORD_NAMES.values(), "secret")
    with pytest.raises(SystemExit) as raised:
        postgres.main(["replica", "--directory", "/nowhere", "--port", "1"], environ)
    assert raised.value.code == 2
    assert "a replica needs --primary-directory and --primary-port" in capsys.readouterr().err


def test_valkey_without_a_password_is_misuse(capsys):
    with pytest.raises(SystemExit) as raised:
        valkey.main(["--directory", "/nowhere", "--port", "1"], {})
    assert raised.value.code == 2
    assert "TIDEGAUGE_VALKEY_PASSWORD" in capsys.readouterr().err


def test_the_wheel_holds_postgres_18_and_valkey():
    assert (find_installation() / "bin" / "pg_basebackup").exists()
    assert valkey.find_program().exists()


def test_a_closed_directory_above_keeps_an_account_out(tmp_path):
    stranger = Account("stranger", user_id=987_654, group_id=987_654)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "closed").mkdir(mode=0o700)
    assert not can_enter(stranger, tmp_path / "closed" / "data")
    assert can_enter(Account("owner", (tmp_path / "closed").stat().st_uid, 0), tmp_path / "closed" / "data")
    assert can_enter(stranger, Path("/tmp"))
