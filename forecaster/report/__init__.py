"""Reports that people hand on: a service's capacity ahead, what it kept of its SLOs. Read, compose, render, send."""
