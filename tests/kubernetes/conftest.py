"""Fixtures that the tests of several modules share for the whole session: a control plane takes seconds to start."""

from tests.kubernetes.cluster_fixtures import memory_cluster, real_cluster

__all__ = ["memory_cluster", "real_cluster"]
