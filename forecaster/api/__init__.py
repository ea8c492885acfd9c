"""The forecaster over HTTP: what it tells, the audit, and the orders of people. One JSON shape for one thing."""
