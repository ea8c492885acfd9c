"""A Kubernetes in small: replicas are processes, a front balances over them, and a reactive loop scales them."""
