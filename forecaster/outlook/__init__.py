"""Demand weeks and months ahead, by the day, and when it passes what can be served. Never imports scaling."""
