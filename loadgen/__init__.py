"""The load generator: an open model on Locust, latency from the intended start. Meets the platform over HTTP."""
