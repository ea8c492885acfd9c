"""What an operator may order of the forecaster, as it wants to be asked: a path and a body. Pure.

What an order means, and whether it is carried out, is decided there (`forecaster.api.control`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from dashboard.words import clock_time

Verb = Literal["mode", "apply", "pause", "resume", "release"]
MODES = ("observe", "recommend", "act")
CONFIGURED = "configured"
MODE_SAYS = {
    "observe": "Tidegauge stores what it would do, and changes nothing.",
    "recommend": "Tidegauge tells people what it would do, and changes nothing.",
    "act": "Tidegauge patches the autoscaler's floor. It is refused until the policy backtest has passed.",
    CONFIGURED: "what tidegauge.yaml says is in force again.",
}
LABELS: Mapping[Verb, str] = {
    "mode": "Set the mode", "apply": "Decide now", "pause": "Pause", "resume": "Resume", "release": "Release",
}  # fmt: skip


def order(
    verb: Verb, service: str, *, who: str, why: str, mode: str = "", forced: bool = False
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Return the path and the body of an order about one service. mode: of the order `mode` alone."""
    body: dict[str, Any] = {"who": who, "reason": why, **({"force": True} if forced else {})}
    if verb in ("pause", "resume"):
        return f"/v1/{verb}", {**body, "service": service}
    return f"/v1/services/{service}/{verb}", {**body, **({"mode": mode} if verb == "mode" else {})}


def force_says(verb: Verb, mode: str) -> str:
    """Return what forcing an order means, for the two that a gate may refuse; nothing for the others."""
    if verb == "mode" and mode in ("act", CONFIGURED):
        return "also without a passed policy backtest. It is recorded as forced."
    return "also in mode observe, and without a passed policy backtest. Recorded as forced." if verb == "apply" else ""


def in_force_text(told: Mapping[str, Any], zone: str | None = None) -> str:
    """Return which mode is in force, who ordered it when and why, and whether scaling is paused, as Markdown.

    told: the forecaster's answer about a service.
    """
    ordered, paused = told.get("mode_ordered"), told.get("paused")
    text = f"Mode **{told['mode']}**, as tidegauge.yaml says."
    if ordered:
        at = clock_time(datetime.fromisoformat(ordered["at"]), zone)
        forced = ", forced" if ordered.get("forced") else ""
        text = f"Mode **{told['mode']}**, ordered by {ordered['actor']} at {at}{forced}: {ordered['reason']}."
        if told["mode"] != told["mode_configured"]:
            text += f" tidegauge.yaml says {told['mode_configured']}."
    return f"{text} " + (f":orange[◆] **Paused**: {paused}." if paused else "● Not paused.")


def says(verb: Verb, mode: str) -> str:
    """Return what an order will do, for who is to confirm it."""
    return {
        "mode": f"Mode **{mode}**: {MODE_SAYS.get(mode, '')}",
        "apply": "A decision is taken at once, and applied where the mode allows it.",
        "pause": "All changes of the floor stop; what is decided is stored all the same.",
        "resume": "Changes of the floor go on where the mode allows them.",
        "release": "The operator's own floor is restored, and scaling pauses.",
    }[verb]
