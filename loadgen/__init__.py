"""The load generator: an open model on Locust, with latency from the intended start. It meets the platform over HTTP."""
