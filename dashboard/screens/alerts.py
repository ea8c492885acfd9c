"""What is wrong, who knows, who was told: alerts, silences, acknowledgements, and the delivery log with its replay."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.confirm import Confirmation, choice_key, confirmed, for_operators
from dashboard.context import View, zone
from dashboard.parts import draw_page, draw_table, heading
from dashboard.queries import record as queries
from dashboard.services import COLLECTOR, PartRefused, PartUnavailable, ask
from dashboard.session import person
from dashboard.tables.alerts import alert_table, delivery_table, fired_table, message_name, silence_table
from dashboard.words import clock_time

SILENCE_FOR = {"30 min": 1800, "2 h": 7200, "8 h": 28_800, "1 d": 86_400, "3 d": 259_200}
MOST_DELIVERIES, RESOLVED_IN_SIGHT = 100, 20


def draw(view: View) -> None:
    """Draw the alerts that are under way, of all services, then what fired in the range, silences and deliveries."""
    found = queries.alerts(view.minute)
    active = [one for one in found if one["phase"] != "resolved"]
    firing = sum(1 for one in active if one["phase"] == "firing")
    pages = sum(1 for one in active if one["phase"] == "firing" and one["severity"] == "page")
    cells = st.columns(4)
    for cell, (name, value) in zip(
        cells,
        {"Firing": firing, "Pages among them": pages, "Pending": len(active) - firing,
         "Silenced": sum(1 for one in active if one["silenced"])}.items(),
        strict=True,
    ):  # fmt: skip
        cell.metric(name, value)
    heading("Active, of all services")
    if active:
        draw_table(alert_table(active, now=view.now, zone=zone()), key="active")
    else:
        st.success("Nothing is wrong that anybody watches for.")
    heading(f"Fired in this range, {view.service.name}")
    fired = queries.fired(view.service.name, view.since, view.until + view.step)
    if fired:
        draw_table(fired_table(fired, zone()), key="fired")
    else:
        st.info("No alert fired in this time range.")
    _draw_silences(view)
    _draw_deliveries()


def _draw_silences(view: View) -> None:
    heading("Silences")
    found = queries.silences(view.now)
    if found:
        draw_table(silence_table(found, now=view.now, zone=zone()), key="silences")
    else:
        st.caption("None: everybody is told of everything.")


def _deliveries() -> dict[str, Any]:
    return ask(COLLECTOR, "GET", f"/v1/deliveries?limit={MOST_DELIVERIES}")


def _draw_deliveries() -> None:
    heading("Delivery log")
    try:
        told = _deliveries()
    except (PartUnavailable, PartRefused) as error:
        st.warning(f"The collector does not tell what it sent: {error}")
        return
    for receiver in told["disabled"]:
        st.warning(f"{receiver} said that it is gone (410) and is sent nothing; `tidegauge alerts enable {receiver}`.")
    if told["deliveries"]:
        draw_table(delivery_table(told["deliveries"], zone()), key="deliveries")
    else:
        st.caption("Nothing was sent yet.")


def act(view: View) -> None:
    """Draw what operators do: acknowledge, silence, end a silence, send again."""
    heading("Act")
    if not for_operators("acknowledge, silence and send again"):
        return
    left, right = st.columns(2, gap="large")
    with left:
        _acknowledge(view)
        _replay()
    with right:
        _silence(view)
        _unsilence(view)


def _acknowledge(view: View) -> None:
    active = [one for one in queries.alerts(view.minute) if one["phase"] != "resolved"]
    chosen, button = st.columns([3, 1], vertical_alignment="bottom")
    one = chosen.selectbox(
        "Alert", active, key=choice_key("ack-alert", active), placeholder="none is active",
        format_func=lambda each: f"{each['service']}: {each['name']}",
    )  # fmt: skip

    def run(said: Confirmation) -> str:
        ask(
            COLLECTOR,
            "POST",
            "/v1/alerts/acknowledge",
            {"alert_id": one["alert_id"], "by": person().name, "note": said.why},
        )
        return f"{one['name']} of {one['service']} is acknowledged by {person().name}."

    with button:
        confirmed(
            "Acknowledge",
            key="ack",
            says="It is not repeated any more, until it is over.",
            run=run,
            disabled="" if one is not None else "There is no alert to acknowledge.",
        )


def _silence(view: View) -> None:
    name, span, button = st.columns([2, 1, 1], vertical_alignment="bottom")
    pattern = name.text_input("Silence alerts named (* and ? match)", value="*", key="silence-name") or "*"
    length = span.selectbox("For", list(SILENCE_FOR), key="silence-for")
    service = view.service.name

    def run(said: Confirmation) -> str:
        body = {"service": service, "name": pattern, "for_seconds": SILENCE_FOR[length], "by": person().name}
        ask(COLLECTOR, "POST", "/v1/silences", {**body, "reason": said.why})
        return f"{pattern} of {service} is silenced for {length}."

    with button:
        says = f"Nobody is told of `{pattern}` of {service} for {length}; it goes on being evaluated."
        confirmed("Silence", key="silence", says=says, run=run)


def _unsilence(view: View) -> None:
    found = queries.silences(view.now)
    chosen, button = st.columns([3, 1], vertical_alignment="bottom")
    one = chosen.selectbox(
        "Silence", found, key=choice_key("unsilence-which", found), placeholder="there is none",
        format_func=lambda each: f"{each.service}: {each.name}, until {clock_time(each.ends_at, zone())}",
    )  # fmt: skip

    def run(_: Confirmation) -> str:
        ask(COLLECTOR, "DELETE", f"/v1/silences/{'' if one is None else one.silence_id}")
        return "The silence has ended."

    with button:
        none = "" if one is not None else "There is no silence to end."
        says = "What fires under it is told at the next evaluation."
        confirmed("End it", key="unsilence", says=says, run=run, asks_why=False, disabled=none)


def _replay() -> None:
    try:
        messages = _deliveries()["deliveries"]
    except (PartUnavailable, PartRefused):
        return  # the log above has said so
    chosen, button = st.columns([3, 1], vertical_alignment="bottom")
    one = chosen.selectbox(
        "Message", messages, key=choice_key("replay-which", messages), placeholder="nothing was sent yet",
        format_func=lambda each: message_name(each, zone()),
    )  # fmt: skip

    def run(_: Confirmation) -> str:
        ask(COLLECTOR, "POST", f"/v1/deliveries/{one['message_id']}/replay")
        return f"{one['message_id']} is sent to {one['receiver']} again."

    with button:
        none = "" if one is not None else "Nothing was sent yet."
        says = "It is sent once more, with the id it had: a receiver that knows it drops it."
        confirmed("Send again", key="replay", says=says, run=run, asks_why=False, disabled=none)


draw_page("Alerts", draw, act=act, watches_record=False)
