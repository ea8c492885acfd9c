"""Where the record comes from: one module per source."""
