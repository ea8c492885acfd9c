"""The bytes of an HTTP/1.1 request. Pure: the client sends them, and parent and child agree on them."""

from __future__ import annotations


def encode_head(method: str, path: str, authority: str, headers: tuple[tuple[str, str], ...]) -> str:
    """Return a request's head without the empty line that ends it; path and headers may be templates."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {authority}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines) + "\r\n"


def encode(head: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request: a head of `encode_head`, and a JSON body with its length if there is one."""
    if not body:
        return head.encode("latin-1", "replace") + b"\r\n"
    end = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + end).encode("latin-1", "replace") + body
