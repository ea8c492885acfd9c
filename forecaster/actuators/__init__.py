"""Whoever holds the floor: one module per kind of autoscaler."""
