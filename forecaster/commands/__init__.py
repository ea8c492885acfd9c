"""`tidegauge forecast | plan | backtest | scale | report`: mounted here, one module per subject beside."""

from __future__ import annotations

import typer

from forecaster.commands import forecasts, judging, reports, scaling


def mount(app: typer.Typer) -> None:
    """Add the forecaster's commands to `app`."""
    forecasts.mount(app)
    judging.mount(app)
    scaling.mount(app)
    reports.mount(app)
