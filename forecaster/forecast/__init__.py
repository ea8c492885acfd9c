"""Demand ahead, with quantiles. Never imports scaling."""
