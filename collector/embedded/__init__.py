"""chDB behind the HTTP interface of ClickHouse, owned by one process."""
