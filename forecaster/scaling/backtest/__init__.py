"""Policies played on the past: the gate before mode `act`, and ours beside what others ship."""
