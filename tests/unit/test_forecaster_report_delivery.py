"""Reports leave by schedule: into a file, signed to a webhook, by mail; what is not taken waits and is tried again."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from collector.catalog import Catalog, CatalogError, parse_catalog
from collector.catalog.reports import ReportSettings
from collector.clickhouse import StoreUnavailableError
from forecaster.report.deliver import (
    MailSettings,
    MailSettingsError,
    mail_message,
    mail_settings,
    send_mail,
    write_file,
)
from forecaster.report.formats import Rendered
from forecaster.report.requests import ReportRequest
from forecaster.report.schedule import ReportDesk, ReportTimer, Senders, newest_due, senders_of
from tests.integration.receiver_fixtures import scripted_receiver
from tests.integration.store_fixtures import free_port

MONDAY = datetime(2026, 11, 16, 7, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REPORT = Rendered(
    "shop-capacity-2026-11-16.pdf", "pdf", b"%PDF-1.7 \x00\xff the report", "Capacity report: shop", "d" * 64
)
WEEKLY = ReportSettings("weekly", "shop", "capacity", "pdf", "0 7 * * 1", None, 90 * DAY)
SECRET = base64.b64encode(b"s" * 32).decode()


def catalog_with(to: str, **more: str) -> Catalog:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    text = f"""
version: 1
services:
  shop: {{source: events, timezone: Europe/Berlin}}
reports:
  - {{name: weekly, service: shop, cron: "0 7 * * 1", to: {to}{extra}}}
"""
    return parse_catalog(text, name="t.yaml")


class Made:
    """Makes the report, and remembers what was asked; `error` set makes it fail with it."""

    def __init__(self) -> None:
        self.asked: list[ReportRequest] = []
        self.error: Exception | None = None

    def __call__(self, settings: ReportSettings, asked: ReportRequest) -> Rendered:
        if self.error:
            raise self.error
        self.asked.append(asked)
        return REPORT


def a_desk(catalog: Catalog, made: Made, folder: Path, environ: dict[str, str] | None = None) -> ReportDesk:
    return ReportDesk(catalog, senders_of(catalog.reports, environ or {}), made, folder=folder)


# When


@pytest.mark.parametrize(
    ("after", "now", "due"),
    [
        # 7 o'clock in Berlin is 6 UTC in winter and 5 UTC in summer.
        (
            datetime(2026, 11, 15, tzinfo=UTC),
            datetime(2026, 11, 16, 6, tzinfo=UTC),
            datetime(2026, 11, 16, 6, tzinfo=UTC),
        ),
        (datetime(2026, 11, 15, tzinfo=UTC), datetime(2026, 11, 16, 5, 59, tzinfo=UTC), None),
        (datetime(2026, 7, 5, tzinfo=UTC), datetime(2026, 7, 6, 9, tzinfo=UTC), datetime(2026, 7, 6, 5, tzinfo=UTC)),
        # Three Mondays gone by are one report: the newest.
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 17, tzinfo=UTC), datetime(2026, 11, 16, 6, tzinfo=UTC)),
    ],
)
def test_a_report_is_due_at_the_newest_local_time_of_its_cron(
    after: datetime, now: datetime, due: datetime | None
) -> None:
    assert newest_due(WEEKLY, "Europe/Berlin", after=after, now=now) == due


def test_a_due_report_is_made_once_as_of_its_due_time_and_again_after_a_restart_only_when_due(tmp_path: Path) -> None:
    made, catalog = Made(), catalog_with(f"{{file: {tmp_path}/out/}}")
    assert a_desk(catalog, made, tmp_path).run_once(now=MONDAY - 2 * HOUR, real_seconds=0) == []  # from now on
    desk = a_desk(catalog, made, tmp_path)  # another life of the process, after the due time
    assert desk.run_once(now=MONDAY, real_seconds=0) == ["weekly"]
    assert desk.run_once(now=MONDAY + HOUR, real_seconds=0) == []
    assert a_desk(catalog, made, tmp_path).run_once(now=MONDAY + DAY, real_seconds=0) == []
    assert [(asked.kind, asked.format, asked.as_of) for asked in made.asked] == [("capacity", "pdf", MONDAY - HOUR)]
    assert (tmp_path / "out" / REPORT.name).read_bytes() == REPORT.content
    assert [path.name for path in (tmp_path / "out").iterdir()] == [REPORT.name]  # no half of a file


def test_a_store_that_is_away_leaves_a_report_due_and_a_report_that_cannot_be_made_is_given_up(tmp_path: Path) -> None:
    made, catalog = Made(), catalog_with(f"{{file: {tmp_path}/out/}}")
    desk = a_desk(catalog, made, tmp_path)
    desk.run_once(now=MONDAY - DAY, real_seconds=0)
    made.error = StoreUnavailableError("connection refused")
    assert desk.run_once(now=MONDAY, real_seconds=0) == []
    made.error = None
    assert desk.run_once(now=MONDAY + HOUR, real_seconds=0) == ["weekly"]
    made.error = ValueError("a calendar without a zone")
    desk.run_once(now=MONDAY + 7 * DAY, real_seconds=0)
    made.error = None
    assert desk.run_once(now=MONDAY + 7 * DAY + HOUR, real_seconds=0) == []


def test_only_the_leader_makes_reports() -> None:
    class Desk:
        calls = 0

        def run_once(self, **_: Any) -> list[str]:
            self.calls += 1
            return []

    desk = Desk()
    for leads in (False, True):
        timer = ReportTimer(desk, now=lambda: MONDAY, leads=lambda leads=leads: leads)  # type: ignore[arg-type, misc]
        timer._look()
    assert desk.calls == 1


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "newest.pdf"
    target.write_bytes(b"older")
    assert write_file(str(target), REPORT) == target
    assert target.read_bytes() == REPORT.content


# Webhooks


def test_a_webhook_is_signed_carries_the_report_and_is_tried_again_under_its_id(tmp_path: Path) -> None:
    with scripted_receiver(["503"]) as hook:
        to = f'{{webhook: {{url: "{hook.url}", secret_env: SECRET, allow_networks: [127.0.0.0/8]}}}}'
        desk = a_desk(catalog_with(to), Made(), tmp_path, {"SECRET": f"whsec_{SECRET}"})
        desk.run_once(now=MONDAY - DAY, real_seconds=0)
        desk.run_once(now=MONDAY, real_seconds=1000)
        desk.run_once(now=MONDAY + HOUR, real_seconds=1100)
        desk.run_once(now=MONDAY + 2 * HOUR, real_seconds=1200)
    first, second = hook.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    signed = f"{second.headers['webhook-id']}.{second.headers['webhook-timestamp']}.".encode() + second.body
    expected = base64.b64encode(hmac.new(b"s" * 32, signed, hashlib.sha256).digest()).decode()
    assert second.headers["webhook-signature"] == f"v1,{expected}"
    body = json.loads(second.body)
    assert (body["type"], body["timestamp"]) == ("report.capacity", "2026-11-16T06:00:00Z")
    assert base64.b64decode(body["data"]["content_base64"]) == REPORT.content
    assert (body["data"]["media_type"], body["data"]["inputs_sha256"]) == ("application/pdf", "d" * 64)


def test_a_webhook_is_not_sent_to_an_address_that_nobody_allowed(tmp_path: Path) -> None:
    with scripted_receiver() as hook:
        desk = a_desk(catalog_with(f'{{webhook: {{url: "{hook.url}"}}}}'), Made(), tmp_path)
        desk.run_once(now=MONDAY - DAY, real_seconds=0)
        assert desk.run_once(now=MONDAY, real_seconds=0) == ["weekly"]  # made; it waits
    assert hook.received == []


# Mail


class Inbox:
    """A mail server's memory. It takes mail from `shop` with the password `open sesame` alone when it asks at all."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuse: str | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        if self.refuse:
            return self.refuse
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"shop", b"open sesame")
        return AuthResult(success=known, handled=known)


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    inbox, port = Inbox(), free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    yield inbox, port
    server.stop()


def test_a_mail_has_the_report_attached_and_comes_once(tmp_path: Path, inbox: tuple[Inbox, int]) -> None:
    box, port = inbox
    environ = {"TIDEGAUGE_SMTP_URL": f"smtp://127.0.0.1:{port}", "TIDEGAUGE_SMTP_FROM": "tide@shop.example"}
    desk = a_desk(catalog_with("{email: [a@shop.example, b@shop.example]}"), Made(), tmp_path, environ)
    desk.run_once(now=MONDAY - DAY, real_seconds=0)
    box.refuse = "451 busy"
    desk.run_once(now=MONDAY, real_seconds=1000)
    assert box.mails == []
    box.refuse = None
    desk.run_once(now=MONDAY + HOUR, real_seconds=1100)
    desk.run_once(now=MONDAY + 2 * HOUR, real_seconds=9000)
    ((recipients, mail),) = box.mails
    assert recipients == ["a@shop.example", "b@shop.example"]
    assert (mail["From"], mail["Subject"]) == ("tide@shop.example", "Capacity report: shop")
    (attached,) = mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("application/pdf", REPORT.name)
    assert attached.get_content() == REPORT.content


def test_mail_over_tls_logs_in_and_trusts_no_certificate_that_nobody_vouches_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program on PATH")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    box, port = Inbox(), free_port()
    server = Controller(
        box, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, auth_required=True,
        authenticator=box.authenticate,
    )  # fmt: skip
    server.start()
    settings = MailSettings("smtp+starttls", "localhost", port, "tide@shop.example", "shop", "open sesame")
    mail = mail_message(replace(WEEKLY, email=("a@shop.example",)), REPORT, due=MONDAY, sender=settings.sender)
    try:
        assert send_mail(settings, ("a@shop.example",), mail).status is None  # SSLCertVerificationError
        assert box.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert send_mail(replace(settings, password="wrong"), ("a@shop.example",), mail).status == 503
        assert send_mail(settings, ("a@shop.example",), mail).status == 200
    finally:
        server.stop()
    assert len(box.mails) == 1


def test_a_page_of_long_lines_and_every_letter_arrives_as_it_was_made(inbox: tuple[Inbox, int]) -> None:
    box, port = inbox
    page = Rendered("shop.html", "html", ("<p>" + "größer € " * 20_000).encode(), "SLA report: shop", "d" * 64)
    mail = mail_message(replace(WEEKLY, email=("a@b.c",)), page, due=MONDAY, sender="t@b.c")
    assert send_mail(MailSettings("smtp", "127.0.0.1", port, "t@b.c"), ("a@b.c",), mail).status == 200
    (attached,) = box.mails[0][1].iter_attachments()
    assert attached.get_payload(decode=True) == page.content


def test_a_mail_that_is_refused_for_good_is_not_tried_again(inbox: tuple[Inbox, int]) -> None:
    box, port = inbox
    box.refuse = "554 no reports here"
    mail = mail_message(replace(WEEKLY, email=("a@b.c",)), REPORT, due=MONDAY, sender="t@b.c")
    assert send_mail(MailSettings("smtp", "127.0.0.1", port, "t@b.c"), ("a@b.c",), mail).status == 422
    assert send_mail(MailSettings("smtp", "127.0.0.1", free_port(), "t@b.c"), ("a@b.c",), mail).status is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TIDEGAUGE_SMTP_URL": "smtp://mail.example.com"}, "expected TLS for mail.example.com"),
        ({"TIDEGAUGE_SMTP_URL": "smtps://shop:secret@mail.example.com"}, "without user and password"),
        ({"TIDEGAUGE_SMTP_URL": "http://mail.example.com"}, "expected smtps://"),
        ({"TIDEGAUGE_SMTP_URL": "smtps://mail.example.com"}, "TIDEGAUGE_SMTP_FROM: expected the sender's address"),
        (
            {"TIDEGAUGE_SMTP_URL": "smtps://m.example", "TIDEGAUGE_SMTP_FROM": "a@b.c", "TIDEGAUGE_SMTP_USER": "shop"},
            "expected both or none",
        ),
    ],
)
def test_mail_settings_that_cannot_be_are_refused_without_telling_a_secret(environ: dict[str, str], words: str) -> None:
    with pytest.raises(MailSettingsError, match=words) as refused:
        mail_settings(environ)
    assert "secret" not in str(refused.value)


def test_settings_keep_the_password_to_themselves_and_have_their_protocols_port() -> None:
    environ = {
        "TIDEGAUGE_SMTP_URL": "smtps://mail.example.com",
        "TIDEGAUGE_SMTP_FROM": "a@b.c",
        "TIDEGAUGE_SMTP_USER": "shop",
        "TIDEGAUGE_SMTP_PASSWORD": "open sesame",
    }
    settings = mail_settings(environ)
    assert settings is not None
    assert settings.port == 465
    assert "sesame" not in repr(settings)
    assert mail_settings({}) is None


def test_a_report_by_mail_needs_a_mail_server() -> None:
    with pytest.raises(MailSettingsError, match="reports weekly: expected TIDEGAUGE_SMTP_URL"):
        senders_of(catalog_with("{email: [a@b.c]}").reports, {})
    assert senders_of((), {}) == Senders({}, None)


@pytest.mark.parametrize(
    ("to", "more", "words"),
    [
        ("{file: a, email: [a@b.c]}", {}, "exactly one of file, webhook and email"),
        ("{email: [nobody]}", {}, "an e-mail address"),
        ("{email: []}", {}, "at least one address"),
        ("{file: a}", {"cron": "every day"}, "each key once"),
        ("{file: a}", {"horizon": "400d"}, "days such as 30d or 90d"),
        ("{file: a}", {"kind": "sla", "horizon": "30d"}, "no horizon for a report of the month before"),
        ("{file: a}", {"format": "doc"}, "html or pdf or md or csv or json"),
        ("{webhook: {url: 'ftp://x'}}", {}, "http"),
    ],
)
def test_a_report_that_cannot_be_is_refused_with_its_line(to: str, more: dict[str, str], words: str) -> None:
    with pytest.raises(CatalogError, match=words) as refused:
        catalog_with(to, **more)
    assert "t.yaml:6: reports[0]" in str(refused.value)


def test_a_report_of_a_service_that_is_not_watched_or_at_no_time_is_refused() -> None:
    for key, value in (("service", "nobody"), ("cron", "at noon")):
        row = {"name": "a", "service": "shop", "cron": "0 7 * * 1"} | {key: value}
        text = "version: 1\nservices: {shop: {source: events}}\nreports:\n  - "
        with pytest.raises(CatalogError, match=f"t.yaml:4: reports\\[0\\].{key}: expected"):
            parse_catalog(text + json.dumps({**row, "to": {"file": "a"}}), name="t.yaml")


def test_reports_of_the_example_are_read() -> None:
    assert catalog_with("{file: a}").reports[0] == replace(WEEKLY, file="a")
