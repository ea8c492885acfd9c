"""A replica for tests, on the standard library alone: says who it is, echoes, streams, or takes its time."""

import asyncio
import json
import os

INSTANCE = os.environ["REFERENCE_APP_INSTANCE"]


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            method, target, _ = line.decode().split()
            headers = {}
            while (field := (await reader.readline()).strip()) != b"":
                name, _, value = field.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = await read_body(reader, headers)
            await answer(writer, method, target, headers, body)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def read_body(reader, headers):
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def answer(writer, method, target, headers, body):
    path, _, query = target.partition("?")
    if path == "/slow":
        await asyncio.sleep(float(query))
    if path == "/die":
        os._exit(1)
    if path == "/stream":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-private\r\nX-Private: 1\r\n\r\n")
        for _ in range(int(query)):
            writer.write(b"5\r\n" + b"tide\n" + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return
    if path == "/half":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        os._exit(1)
    told = {"instance": INSTANCE, "method": method, "target": target, "headers": headers, "body": body.decode()}
    content = json.dumps(told).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + (b"" if method == "HEAD" else content))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["REFERENCE_APP_PORT"]))
    await server.serve_forever()


asyncio.run(main())
