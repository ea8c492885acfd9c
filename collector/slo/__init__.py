"""Objectives, error budgets and burn rates: pure sums over counts from the record."""
