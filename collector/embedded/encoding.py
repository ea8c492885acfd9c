"""Compression of HTTP bodies, both ways, in bounded pieces: lz4 frames, zstd, gzip, deflate.

The lz4 and zstd packages are those that clickhouse-connect brings, and uses at the other end.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import lz4.frame  # type: ignore[import-untyped]  # it ships no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 1 << 20


class EncodingError(ValueError):
    """A body's Content-Encoding is unknown, or its bytes are not what it says."""


class Decoder(Protocol):
    """Takes a body as it comes and gives what is in it, in pieces of at most PIECE_BYTES."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` holds; raises EncodingError."""

    def finish(self) -> None:
        """Raise EncodingError if the body ended too early."""


class Encoder(Protocol):
    """Compresses a body as it is made."""

    name: str

    def compress(self, data: bytes) -> bytes:
        """Return compressed bytes (maybe none yet)."""

    def flush(self) -> bytes:
        """Return the last compressed bytes."""


def decoder_for(content_encoding: str) -> Decoder:
    """Return the decoder of a Content-Encoding; raises EncodingError for one that is not spoken here."""
    name = content_encoding.strip().lower()
    if name in {"", "identity"}:
        return _Plain()
    if name == "lz4":
        return _Frames(name, lz4.frame.LZ4FrameDecompressor, (RuntimeError, EOFError))
    if name == "zstd":
        return _Frames(name, zstd.ZstdDecompressor, (zstd.ZstdError, EOFError))
    if name in {"gzip", "deflate"}:
        return _Zlib(name)
    raise EncodingError(f"Content-Encoding: expected one of lz4, zstd, gzip, deflate, got {content_encoding!r}")


def encoder_for(accept_encoding: str) -> Encoder | None:
    """Return the cheapest encoder that the client accepts, or None when it accepts none of ours."""
    accepted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    if "lz4" in accepted:
        return _Lz4Encoder()
    if "zstd" in accepted:
        return _StreamEncoder("zstd", zstd.ZstdCompressor(level=1))
    if "gzip" in accepted:
        return _StreamEncoder("gzip", zlib.compressobj(level=1, wbits=31))
    if "deflate" in accepted:
        return _StreamEncoder("deflate", zlib.compressobj(level=1))
    return None


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def finish(self) -> None:
        """A body without encoding ends where HTTP says."""


class _Frames:
    """lz4 and zstd: one body may hold several frames, each with its own decompressor."""

    def __init__(self, name: str, new_decompressor: Any, errors: tuple[type[Exception], ...]) -> None:
        self._name, self._new, self._errors = name, new_decompressor, errors
        self._current: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or (self._current is not None and not self._current.needs_input):
            if self._current is None:
                self._current = self._new()
            try:
                piece = self._current.decompress(data, max_length=PIECE_BYTES)
            except self._errors as error:
                raise EncodingError(f"the body is not {self._name}: {error}") from error
            data = b""
            if self._current.eof:
                data = self._current.unused_data or b""
                self._current = None
            if piece:
                yield piece

    def finish(self) -> None:
        if self._current is not None:
            raise EncodingError(f"the {self._name} body ended in the middle of a frame")


class _Zlib:
    def __init__(self, name: str) -> None:
        self._name = name
        self._current = zlib.decompressobj(wbits=47 if name == "gzip" else 15)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = self._begun or bool(data)
        while data:
            try:
                piece = self._current.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise EncodingError(f"the body is not {self._name}: {error}") from error
            data = self._current.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        if self._begun and not self._current.eof:
            raise EncodingError(f"the {self._name} body ended too early")


class _StreamEncoder:
    def __init__(self, name: str, compressor: Any) -> None:
        self.name, self._compressor = name, compressor

    def compress(self, data: bytes) -> bytes:
        return bytes(self._compressor.compress(data))

    def flush(self) -> bytes:
        return bytes(self._compressor.flush())


class _Lz4Encoder(_StreamEncoder):
    def __init__(self) -> None:
        super().__init__("lz4", lz4.frame.LZ4FrameCompressor())
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        begin = b"" if self._begun else bytes(self._compressor.begin())
        self._begun = True
        return begin + super().compress(data)

    def flush(self) -> bytes:
        begin = b"" if self._begun else bytes(self._compressor.begin())
        self._begun = True
        return begin + super().flush()
