"""The seed: reproducible airports, flights and users, and what puts them into the database."""
