"""The load generator: an open model on Locust, with latency from the intended start. HTTP is all it shares."""
