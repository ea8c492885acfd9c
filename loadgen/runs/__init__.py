"""What stays of a run: its files, its summary, its HTML page, what the collector is told, and two runs compared."""
