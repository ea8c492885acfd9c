"""chDB behind the HTTP interface of ClickHouse, owned by one process (`python -m collector.embedded`).

A chDB directory can be open in one process only, and there is no asynchronous client for it. This package puts
ClickHouse's HTTP interface in front of it, so that every part of Tidegauge uses clickhouse-connect's ordinary client
and a ClickHouse server is one URL away. Nothing outside this package imports chdb.

settings: the environment. statement: where an INSERT's data begin (pure). request: URL parameters and headers to one
value (pure). encoding, body, response: HTTP. engine: the only import of chdb. front: the ASGI application.
"""
