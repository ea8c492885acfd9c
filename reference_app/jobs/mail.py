"""E-mail: by SMTP if a server is set, else into a folder that keeps the newest thousand. At least once.

The Message-ID is made of the job, so a mail that is sent twice (a worker was killed between sending and saying so) is
recognised as one by whoever receives it, and is one file in the folder.
"""

from __future__ import annotations

import asyncio
import smtplib
import zlib
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

SENDER = "bookings@reference-app.example"
SMTP_SECONDS = 10.0
KEPT_FILES = 1000


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: EmailMessage) -> None:
        """Send one; raises OSError or smtplib's exceptions when it was not taken."""


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """Hands mail to the server of an `smtp://host:port` URL."""

    host: str
    port: int

    async def send(self, mail: EmailMessage) -> None:
        """Send one, in a thread: smtplib waits."""
        await asyncio.to_thread(self._send, mail)

    def _send(self, mail: EmailMessage) -> None:
        with smtplib.SMTP(self.host, self.port, timeout=SMTP_SECONDS) as server:
            server.send_message(mail)


@dataclass(frozen=True, slots=True)
class FolderMailer:
    """Writes mail into a folder, for machines without a mail server."""

    folder: Path

    async def send(self, mail: EmailMessage) -> None:
        """Write one; the same mail again is the same file."""
        number = zlib.crc32(str(mail["Message-ID"]).encode()) % KEPT_FILES
        await asyncio.to_thread(self._write, self.folder / f"{number:03}.eml", mail.as_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def mailer_at(url: str | None, folder: Path) -> Mailer:
    """Return the mailer of an `smtp://host:port` URL, or of the folder. Raises ValueError for another URL."""
    if url is None:
        return FolderMailer(folder)
    parts = urlsplit(url)
    if parts.scheme != "smtp" or parts.hostname is None:
        raise ValueError(f"expected smtp://host:port, got {parts.scheme}://...")
    return SmtpMailer(parts.hostname, parts.port or 25)


def written(job_key: str, *, to: str, subject: str, text: str) -> EmailMessage:
    """Return a mail whose Message-ID is the job's."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, to, subject
    mail["Message-ID"] = f"<{job_key.replace(':', '.')}@reference-app.example>"
    mail.set_content(text)
    return mail
