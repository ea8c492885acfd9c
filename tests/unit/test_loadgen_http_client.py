"""The lean client, against a real socket whose other end a script plays."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from loadgen.sending.http_client import LeanClient, NoAnswerError, NoConnectionError
from loadgen.sending.wire import encode, encode_head

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET = encode(encode_head("GET", "/x", "127.0.0.1:1", (("x-region", "eu-west"),)))
Script = Callable[[socket.socket], None]


@contextmanager
def playing(*scripts: Script) -> Iterator[tuple[LeanClient, list[bytes]]]:
    """Yield a client of a server that plays one script per connection, in order, and what requests it saw."""
    seen: list[bytes] = []

    def serve() -> None:
        for script in scripts:
            connection, _ = listener.accept()
            with connection:
                script(_Recording(connection, seen))  # type: ignore[arg-type]  # all of a socket that scripts use

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = LeanClient(*listener.getsockname()[:2], timeout_seconds=5.0)
        try:
            yield client, seen
        finally:
            for kept in client._idle:
                kept.close()
            thread.join(5)


class _Recording:
    def __init__(self, connection: socket.socket, seen: list[bytes]) -> None:
        self._connection, self._seen = connection, seen
        self.sendall = connection.sendall

    def recv(self, size: int) -> bytes:
        data = self._connection.recv(size)
        if data:
            self._seen.append(data)
        return data


def answer(*answers: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        for each in answers:
            if not connection.recv(65_536):
                return
            connection.sendall(each)

    return script


def hang_up(connection: socket.socket) -> None:
    connection.recv(65_536)


def test_one_connection_serves_request_after_request() -> None:
    with playing(answer(OK, OK)) as (client, seen):
        assert client.exchange(GET).status == 200
        exchange = client.exchange(GET)
    assert exchange.first_byte_at <= exchange.done_at
    assert len(seen) == 2
    assert seen[0].startswith(b"GET /x HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-region: eu-west\r\n" in seen[0]


def test_a_body_goes_out_with_its_length_and_chunks_come_back() -> None:
    chunked = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with playing(answer(chunked)) as (client, seen):
        assert client.exchange(encode(encode_head("POST", "/b", "h", ()), b'{"a": 1}')).status == 201
    assert b"content-length: 8\r\n" in seen[0]
    assert seen[0].endswith(b'\r\n\r\n{"a": 1}')


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_once() -> None:
    with playing(answer(OK), answer(OK)) as (client, seen):
        assert client.exchange(GET).status == 200  # the script is over, the server closes
        assert client.exchange(GET).status == 200
    assert len(seen) == 2


def test_a_fresh_connection_that_is_closed_without_an_answer_is_a_failure_and_is_not_repeated() -> None:
    with playing(hang_up) as (client, seen), pytest.raises(NoConnectionError):
        client.exchange(GET)
    assert len(seen) == 1


def test_an_answer_cut_off_in_the_middle_is_a_failure() -> None:
    half = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 50\r\n\r\nhalf"
    with playing(answer(half)) as (client, _), pytest.raises(NoConnectionError, match="within an answer"):
        client.exchange(GET)


def test_an_answer_that_says_close_is_taken_and_the_connection_not_kept() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall there is"
    with playing(answer(closing), answer(OK)) as (client, seen):
        assert client.exchange(GET).status == 200
        assert client.exchange(GET).status == 200
    assert len(seen) == 2


def test_no_answer_in_time_is_told_as_such() -> None:
    with playing(hang_up_after_the_client_did) as (client, _):
        client.timeout_seconds = 0.05
        with pytest.raises(NoAnswerError):
            client.exchange(GET)


def hang_up_after_the_client_did(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def test_nobody_listening_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()[:2]
    with pytest.raises(NoConnectionError):
        LeanClient(*address, timeout_seconds=1.0).exchange(GET)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the key and certificate of localhost, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: no certificate to serve TLS with")
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", file, "-out", f"{file}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


@contextmanager
def tls_server(certificate: Path, answers: int) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection, context.wrap_socket(connection, server_side=True) as secure:
                for _ in range(answers):
                    secure.recv(65_536)
                    secure.sendall(OK)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_tls_carries_request_after_request_over_one_connection(certificate: Path) -> None:
    with tls_server(certificate, 2) as port:
        trusted = ssl.create_default_context(cafile=f"{certificate}.crt")
        client = LeanClient("localhost", port, timeout_seconds=5.0, context=trusted)
        assert [client.exchange(GET, keep_body=True)[::3] for _ in range(2)] == [(200, b"ok")] * 2


def test_a_certificate_that_nobody_vouches_for_is_no_connection(certificate: Path) -> None:
    with tls_server(certificate, 1) as port:
        client = LeanClient("localhost", port, timeout_seconds=5.0, context=ssl.create_default_context())
        with pytest.raises(NoConnectionError, match="certificate verify failed"):
            client.exchange(GET)
