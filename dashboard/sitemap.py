"""The pages by their addresses: file, title and icon."""

from __future__ import annotations

FIRST = "overview"  # what is shown at the root
PAGES = {
    "overview": ("screens/overview.py", "Overview", ":material/monitoring:"),
    "slo": ("screens/slo.py", "SLO", ":material/verified:"),
    "traffic": ("screens/traffic.py", "Traffic", ":material/traffic:"),
    "forecast": ("screens/forecast.py", "Forecast", ":material/show_chart:"),
    "scaling": ("screens/scaling.py", "Scaling", ":material/stacked_bar_chart:"),
    "capacity": ("screens/capacity.py", "Capacity", ":material/straighten:"),
    "load-tests": ("screens/load_tests.py", "Load tests", ":material/speed:"),
    "data-tier": ("screens/data_tier.py", "Data tier", ":material/database:"),
    "alerts": ("screens/alerts.py", "Alerts", ":material/notifications:"),
}
