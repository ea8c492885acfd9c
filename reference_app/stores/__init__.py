"""What the app keeps in PostgreSQL, and the SQL that reads and writes it. The caches in front are decided here too."""
