"""What an operator may order of the forecaster, as it wants to be asked: a path and a body. Pure.

What an order means, and whether it is carried out, is decided there (`forecaster.control_api`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Verb = Literal["mode", "apply", "pause", "resume", "release"]
MODES = ("observe", "recommend", "act")
MODE_SAYS = {
    "observe": "Tidegauge stores what it would do, and changes nothing.",
    "recommend": "Tidegauge tells people what it would do, and changes nothing.",
    "act": "Tidegauge patches the autoscaler's floor. It is refused until the policy backtest has passed.",
}
LABELS: Mapping[Verb, str] = {
    "mode": "Set the mode", "apply": "Decide now", "pause": "Pause", "resume": "Resume", "release": "Release",
}  # fmt: skip


def order(verb: Verb, service: str, *, who: str, why: str, mode: str = "") -> tuple[str, dict[str, Any]]:
    """Return the path and the body of an order about one service. mode: of the order `mode` alone."""
    body: dict[str, Any] = {"who": who, "reason": why}
    if verb in ("pause", "resume"):
        return f"/v1/{verb}", {**body, "service": service}
    return f"/v1/services/{service}/{verb}", {**body, **({"mode": mode} if verb == "mode" else {})}


def says(verb: Verb, mode: str) -> str:
    """Return what an order will do, for who is to confirm it."""
    return {
        "mode": f"Mode **{mode}**: {MODE_SAYS.get(mode, '')}",
        "apply": "A decision is taken at once, and applied where the mode allows it.",
        "pause": "All changes of the floor stop; what is decided is stored all the same.",
        "resume": "Changes of the floor go on where the mode allows them.",
        "release": "The operator's own floor is restored, and scaling pauses.",
    }[verb]
