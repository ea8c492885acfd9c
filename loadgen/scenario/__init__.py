"""A scenario: its file, its executors' curves, its run, its books, its thresholds and its verdict."""
