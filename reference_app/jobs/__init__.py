"""Work that need not be done within a request: a queue on Redis, its workers, the outbox relay, and the sweeps."""
