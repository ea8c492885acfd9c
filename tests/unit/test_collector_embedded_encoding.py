"""Compressed bodies, in and out."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest

from collector.embedded.encoding import PIECE_BYTES, EncodingError, decoder_for, encoder_for, zstd

TEXT = bytes(range(256)) * 5000  # 1.28 MB: more than one piece
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "": bytes,
}


def _decode(name: str, data: bytes, step: int) -> bytes:
    decoder = decoder_for(name)
    pieces = [piece for at in range(0, len(data), step) for piece in decoder.feed(data[at : at + step])]
    decoder.finish()
    assert not name or all(len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("step", [999, 10_000_000])
def test_a_body_is_the_same_however_it_was_cut(name: str, step: int) -> None:
    assert _decode(name, COMPRESS[name](TEXT), step) == TEXT


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_several_frames_are_one_body(name: str) -> None:
    assert _decode(name, COMPRESS[name](b"one,") + COMPRESS[name](b"two"), 7) == b"one,two"


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip", "deflate"])
def test_a_body_cut_short_is_refused(name: str) -> None:
    with pytest.raises(EncodingError, match="ended"):
        _decode(name, COMPRESS[name](TEXT)[:-8], 10_000_000)


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip", "deflate"])
def test_bytes_that_are_not_what_the_header_says_are_refused(name: str) -> None:
    with pytest.raises(EncodingError, match=f"not {name}"):
        _decode(name, b"INSERT INTO t FORMAT CSV", 100)


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(EncodingError, match="'br'"):
        decoder_for("br")


@pytest.mark.parametrize(("accepted", "name"), [("lz4,zstd,gzip", "lz4"), ("zstd", "zstd"), ("br, gzip;q=1", "gzip")])
def test_what_is_sent_can_be_read_by_the_client_that_accepted_it(accepted: str, name: str) -> None:
    encoder = encoder_for(accepted)
    assert encoder is not None
    assert encoder.name == name
    assert _decode(name, encoder.compress(TEXT) + encoder.compress(b"x") + encoder.flush(), 4096) == TEXT + b"x"


def test_a_client_that_accepts_none_of_ours_gets_plain_bytes() -> None:
    assert encoder_for("br") is None
