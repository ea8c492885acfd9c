"""`tidegauge forecast | plan | backtest policy|forecast | scale ...`: mounted here, one module per subject beside."""

from __future__ import annotations

import typer

from forecaster.commands import forecasts, judging, scaling


def mount(app: typer.Typer) -> None:
    """Add the forecaster's commands to `app`."""
    forecasts.mount(app)
    judging.mount(app)
    scaling.mount(app)
