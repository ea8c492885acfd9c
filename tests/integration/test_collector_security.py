"""The collector as a process, behind tokens and TLS, and read-only callers of the store."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from collector.clickhouse import ClickHouseSettings, StoreError, connect
from collector.instrument import Event, EventClient
from tests.integration.collector_fixtures import start_collector, until
from tests.integration.store_fixtures import running_store

pytestmark = pytest.mark.server
TOKENS = {
    "TIDEGAUGE_INGEST_TOKEN": "ingest-new-012345,ingest-old-012345",
    "TIDEGAUGE_READ_TOKEN": "read-0123456789ab",
    "TIDEGAUGE_ADMIN_TOKEN": "admin-0123456789a",
}
NO_STORE = "http://127.0.0.1:9"
ROOT = Path(__file__).parents[2]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_another_address_than_loopback_is_not_served_without_tokens(tmp_path: Path) -> None:
    bare = start_collector(tmp_path, NO_STORE, environment={"TIDEGAUGE_BIND_ADDRESS": "0.0.0.0"})
    assert bare.process.wait(20) == 1
    assert "expected tokens for all that is not loopback: set TIDEGAUGE_INGEST_TOKEN" in bare.log.read_text()


def test_behind_tokens_a_client_of_either_age_posts_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"TIDEGAUGE_BIND_ADDRESS": "0.0.0.0", **TOKENS}
    collector = start_collector(tmp_path, NO_STORE, environment=environment)
    try:
        collector.wait_until_alive()
        assert httpx.post(collector.url + "/v1/events", json={}).status_code == 401
        assert httpx.post(collector.url + "/v1/events", json={}, headers=bearer("read-0123456789ab")).status_code == 403
        assert httpx.get(collector.url + "/metrics").headers["www-authenticate"].startswith("Bearer")
        assert httpx.get(collector.url + "/metrics", headers=bearer("read-0123456789ab")).status_code == 200
        large = httpx.post(collector.url + "/v1/markers", content=bytes(9 << 20), headers=bearer("ingest-new-012345"))
        assert large.status_code == 413
        monkeypatch.setenv("TIDEGAUGE_INGEST_TOKEN", TOKENS["TIDEGAUGE_INGEST_TOKEN"])
        for token in (None, "ingest-old-012345"):
            client = EventClient(collector.url, service="shop", instance="i", flush_seconds=0.01, token=token)
            client.record(Event(ts_us=int(1e6 * time.time()), route="/", method="GET", status=200,
                                duration_us=1))  # fmt: skip
            assert client.close()
        log = collector.log.read_text()
        assert "sent in the clear" in log
        assert "0123456" not in log
    finally:
        assert collector.stop() == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is missing")
def test_with_a_certificate_it_is_served_by_tls_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    environment = {"TIDEGAUGE_TLS_CERT": str(certificate), "TIDEGAUGE_TLS_KEY": str(key)}
    collector = start_collector(tmp_path, NO_STORE, environment=environment)
    url = collector.url.replace("http://127.0.0.1", "https://localhost")
    trusting = ssl.create_default_context(cafile=str(certificate))
    try:
        until(lambda: _answers(url, trusting), why="it answers by TLS")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(url + "/healthz")
        with pytest.raises(httpx.TransportError):
            httpx.get(collector.url + "/healthz")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client = EventClient(url, service="shop", instance="i", flush_seconds=0.01)
        client.record(Event(ts_us=int(1e6 * time.time()), route="/", method="GET", status=200,
                            duration_us=1))  # fmt: skip
        assert client.close()
    finally:
        assert collector.stop() == 0


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        return httpx.get(url + "/healthz", verify=context).status_code == 200
    except httpx.TransportError:
        return False


READERS_MUST_NOT = (
    "INSERT INTO t VALUES (3)",
    "DROP TABLE t",
    "CREATE TABLE u (x UInt8) ENGINE = Memory",
    "SET readonly = 0",
    "ALTER TABLE t DELETE WHERE 1",
    "KILL QUERY WHERE 1",
    "SELECT 1 INTO OUTFILE 'never-written'",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT file('/etc/passwd')",
    "SELECT * FROM `url`('http://127.0.0.1:9/', 'LineAsString')",
    'SELECT * FROM default."/etc/passwd"',
    "WITH x AS (SELECT 1) SELECT * FROM x, remote('h', d.t)",
    "SELECT * FROM {a:Identifier}",
)


def test_the_reader_of_the_store_reads_and_changes_nothing_whatever_it_says(tmp_path: Path) -> None:
    passwords = {
        "TIDEGAUGE_CLICKHOUSE_PASSWORD": "owner-secret",
        "TIDEGAUGE_CLICKHOUSE_READER_PASSWORD": "reader-secret",
    }
    with running_store(tmp_path, environment=passwords) as url:
        owner = connect(ClickHouseSettings(url=url, password="owner-secret", database="record"))
        owner.create_database()
        owner.command("CREATE TABLE t (x UInt8) ENGINE = MergeTree ORDER BY x")
        owner.insert_columns("t", {"x": [1, 2]}, token="one")
        named = ClickHouseSettings(url=url, user="tidegauge_reader", password="reader-secret", database="record")
        reader = connect(named)
        assert reader.query_rows("SELECT sum(x) FROM t WHERE x > {least:UInt8}", {"least": 1}) == [(2,)]
        for statement in READERS_MUST_NOT:
            with pytest.raises(StoreError, match=r"(?i)readonly"):
                reader.command(statement)
        with pytest.raises(StoreError, match=r"(?i)readonly"):
            reader.insert_columns("t", {"x": [3]}, token="two")
        with pytest.raises(StoreError, match=r"(?i)readonly"):
            httpx_insert(url, "readonly=0")
        assert owner.query_rows("SELECT sum(x) FROM t") == [(3,)]
        with pytest.raises(StoreError, match="password is incorrect"):
            connect(ClickHouseSettings(url=url, user="tidegauge_reader", password="owner-secret", database="default"))
        assert reader.query_rows("SELECT name FROM system.tables WHERE database = 'record'") == [("t",)]
        assert reader.query_rows("SELECT 'file(', count() FROM numbers(3) -- url(") == [("file(", 3)]
        reader.close()
        owner.close()


def httpx_insert(url: str, query: str) -> None:
    """Insert over plain HTTP with a setting of the caller's own choice."""
    account = {"X-ClickHouse-User": "tidegauge_reader", "X-ClickHouse-Key": "reader-secret"}
    answer = httpx.post(f"{url}/?{query}", content="INSERT INTO record.t FORMAT Values (9)", headers=account)
    if answer.status_code != 200:
        raise StoreError(answer.text)


def test_an_account_without_a_password_of_its_own_is_not_let_in_beside_one_that_has(tmp_path: Path) -> None:
    with running_store(tmp_path, environment={"TIDEGAUGE_CLICKHOUSE_PASSWORD": "owner-secret"}) as url:
        for password in ("", "owner-secret"):
            with pytest.raises(StoreError, match="password is incorrect"):
                connect(ClickHouseSettings(url=url, user="tidegauge_reader", password=password, database="default"))


def test_no_statement_is_made_of_a_value_and_every_exception_says_what_it_is_made_of() -> None:
    """Ruff's rule S608 finds SQL put together from parts; where it is ignored, the reason stands beside it."""
    packages = ["collector", "forecaster", "dashboard", "tidegauge", "benchmarks"]
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "S608", *packages],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named ruff" in found.stderr:
        pytest.skip("ruff is missing")
    assert found.returncode == 0, found.stdout
    for path in (path for package in packages for path in (ROOT / package).rglob("*.py")):
        for line in path.read_text().splitlines():
            assert not re.search(r"noqa: [A-Z0-9, ]*S608\s*$", line), f"{path}: S608 without a reason: {line.strip()}"
