"""Rows to be read, pure: one module per page."""
