"""Where a report goes: a file, a signed webhook, an e-mail. What leaves the machine waits in an outbox until taken.

A webhook is sent as alerts are (`collector.alerts.webhooks`): Standard Webhooks, to checked addresses alone. The body
is `{"type": "report.<kind>", "timestamp", "data": {.., "content_base64"}}`. E-mail goes over TLS, but to loopback;
server and credentials come from the environment alone.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import smtplib
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

from collector.alerts.bodies import Message
from collector.alerts.outbox import Answer, Outbox
from collector.catalog.reports import ReportSettings
from forecaster.report.formats import Rendered
from forecaster.store.instants import text_of

OUTBOX_PATH = Path("reports") / "outbox.sqlite3"  # below the forecaster's data folder
SMTP_SECONDS = 30.0
_PORTS = {"smtps": 465, "smtp+starttls": 587, "smtp": 25}
Send = Callable[[Message], Answer]


class MailSettingsError(ValueError):
    """The mail server's settings are not as expected. The message never repeats a password."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The server mail is handed to. scheme: smtps, smtp+starttls, or smtp (loopback only). user None: without login."""

    scheme: str
    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def mail_settings(environ: Mapping[str, str]) -> MailSettings | None:
    """Return the mail server of TIDEGAUGE_SMTP_URL, None without one. Raises MailSettingsError."""
    url = environ.get("TIDEGAUGE_SMTP_URL")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
        raise MailSettingsError(
            "TIDEGAUGE_SMTP_URL: expected smtps://host[:port] or smtp+starttls://host[:port], without user and password"
        )
    if parts.scheme == "smtp" and not _is_loopback(parts.hostname):
        raise MailSettingsError(f"TIDEGAUGE_SMTP_URL: expected TLS for {parts.hostname}; smtp:// is for loopback alone")
    sender, user = environ.get("TIDEGAUGE_SMTP_FROM") or "", environ.get("TIDEGAUGE_SMTP_USER") or None
    password = environ.get("TIDEGAUGE_SMTP_PASSWORD") or None
    if "@" not in sender:
        raise MailSettingsError("TIDEGAUGE_SMTP_FROM: expected the sender's address")
    if (user is None) != (password is None):
        raise MailSettingsError("TIDEGAUGE_SMTP_USER and TIDEGAUGE_SMTP_PASSWORD: expected both or none")
    return MailSettings(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], sender, user, password)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def write_file(target: str, report: Rendered) -> Path:
    """Write a report, whole or not at all; a target that ends in / is a folder. Raises OSError."""
    path = Path(target) / report.name if target.endswith("/") or Path(target).is_dir() else Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".report-", delete=False) as half:
        half.write(report.content)
    os.chmod(half.name, 0o644)  # a report is to be read by others
    os.replace(half.name, path)
    return path


def webhook_message(settings: ReportSettings, report: Rendered, *, due: datetime) -> Message:
    """Return the message of a webhook; its id is the same for one report of one due time."""
    data = {
        "name": settings.name,
        "service": settings.service,
        "title": report.title,
        "inputs_sha256": report.digest,
        "file": report.name,
        "media_type": report.media_type,
        "content_base64": base64.b64encode(report.content).decode(),
    }
    whole = {"type": f"report.{settings.kind}", "timestamp": text_of(due), "data": data}
    return Message(_message_id(settings, due), settings.name, settings.service, json.dumps(whole).encode())


def mail_message(settings: ReportSettings, report: Rendered, *, due: datetime, sender: str) -> Message:
    """Return the mail of a report as a message: the report is attached; sent twice, it has the same Message-ID."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(settings.email), report.title
    mail["Date"] = format_datetime(due)
    mail["Message-ID"] = f"<{_message_id(settings, due)}@{sender.rpartition('@')[2]}>"
    mail.set_content(
        f"{report.title}\n\nThe report is attached ({report.name}).\nInputs SHA-256 {report.digest}\n\nTidegauge\n"
    )
    kind, _, subtype = report.media_type.partition(";")[0].partition("/")
    mail.add_attachment(report.content, maintype=kind, subtype=subtype, filename=report.name)
    # With the line ends of SMTP: smtplib sends bytes as they are.
    return Message(_message_id(settings, due), settings.name, settings.service, mail.as_bytes(policy=policy.SMTP))


def _message_id(settings: ReportSettings, due: datetime) -> str:
    identity = f"{settings.name}/{settings.service}/{text_of(due)}"
    return f"rep_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def send_mail(settings: MailSettings, recipients: tuple[str, ...], message: Message) -> Answer:
    """Hand a mail to the server. Never raises for what the network or the server does; 5xx refusals are for good."""
    try:
        with _connected(settings) as server:
            if settings.user is not None and settings.password is not None:
                server.login(settings.user, settings.password)
            refused = server.sendmail(settings.sender, list(recipients), message.body)
    except smtplib.SMTPResponseException as error:
        status = 422 if 500 <= error.smtp_code < 600 and not isinstance(error, smtplib.SMTPAuthenticationError) else 503
        words = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode(errors="replace")
        return Answer(status, f"SMTP {error.smtp_code} {words[:200]}")
    except smtplib.SMTPRecipientsRefused as error:
        return Answer(422, f"refused: {', '.join(sorted(error.recipients))}")
    except (OSError, smtplib.SMTPException) as error:
        return Answer(None, type(error).__name__)
    return Answer(200, f"refused: {', '.join(sorted(refused))}" if refused else "taken")


def _connected(settings: MailSettings) -> smtplib.SMTP:
    if settings.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=SMTP_SECONDS, context=context)
    server = smtplib.SMTP(settings.host, settings.port, timeout=SMTP_SECONDS)
    if settings.scheme == "smtp+starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def send_waiting(outbox: Outbox, name: str, send: Send, *, now: float) -> list[tuple[str, str]]:
    """Try what is due under a report's name; return each outcome with what was answered. now: real epoch seconds."""
    tried = [(waiting, send(waiting.message)) for waiting in outbox.due(name, now=now)]
    return [(outbox.record(waiting, answer, now=now), answer.detail) for waiting, answer in tried]
