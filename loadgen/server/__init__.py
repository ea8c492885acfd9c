"""The load generator as a server on loopback: runs that others start, watch, stop and schedule."""
