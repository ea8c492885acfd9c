"""A Kubernetes in small for the embedded stack: replicas as processes, a front before them, the HPA's loop above."""
