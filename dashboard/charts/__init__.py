"""Figures from frames, pure: one module per page, on one palette and one axis of time."""
