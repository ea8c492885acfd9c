"""The record: what happened to a service's requests, stored in ClickHouse, and the SLOs computed from it."""
