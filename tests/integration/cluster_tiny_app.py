"""A replica for tests, on the standard library alone: says who it is, and takes its time when asked to."""

import asyncio
import json
import os

INSTANCE = os.environ["REFERENCE_APP_INSTANCE"]


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            method, target, _ = line.decode().split()
            while (await reader.readline()).strip():
                continue  # GET only: no header of it matters here
            await answer(writer, method, target)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def answer(writer, method, target):
    path, _, query = target.partition("?")
    if path == "/slow":
        await asyncio.sleep(float(query))
    told = {"instance": INSTANCE, "method": method, "target": target}
    content = b"process_cpu_seconds_total 3.5\n" if path == "/metrics" else json.dumps(told).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["REFERENCE_APP_PORT"]))
    await server.serve_forever()


asyncio.run(main())
