"""What holds for all tests.

A test of real servers shares its machine with them, and a machine may stand still for seconds: such a test that fails
runs once more, and the run counts and names it. Unit tests get no second chance. No example of a property has a
deadline: how long one takes is the machine's affair.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("tidegauge", settings.default, deadline=None)
settings.load_profile("tidegauge")

_OF_REAL_SERVERS = ("server", "browser", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of real servers a second run."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _OF_REAL_SERVERS):
            item.add_marker(pytest.mark.flaky(reruns=1))
