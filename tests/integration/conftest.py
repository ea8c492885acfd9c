"""Fixtures that tests of several modules share for the whole session."""

from tests.integration.dashboard_fixtures import alert_actions, dashboard_store

__all__ = ["alert_actions", "dashboard_store"]
