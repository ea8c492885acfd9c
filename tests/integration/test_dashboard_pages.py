"""Every page, drawn by Streamlit's own test runner: on a filled record, an empty one, one without tables, and none."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.access import Person
from tests.integration.dashboard_fixtures import EMPTY, FILLED, ROOT, AlertActions, present
from tests.integration.store_fixtures import free_port

pytestmark = pytest.mark.server
APP = Path(dashboard.__file__).parent / "app.py"
PAGES = ("overview", "slo", "traffic", "forecast", "scaling", "capacity", "load_tests", "data_tier", "alerts")
FIGURES = {
    "overview": 3, "slo": 3, "traffic": 5, "forecast": 4, "scaling": 1, "capacity": 3, "load_tests": 4, "data_tier": 6,
    "alerts": 0,
}  # fmt: skip
AWAY = {
    "scaling": "which mode is in force is not known",
    "load_tests": "nothing can be started or stopped",
    "alerts": "The collector does not tell what it sent",
}
# What each page says of an empty record, beyond that nothing was recorded.
EMPTY_SAYS = {
    "overview": "No demand in this time range", "slo": "the classic rule has nothing to judge",
    "traffic": "No recorded request", "forecast": "No forecast in this time range",
    "scaling": "No state of the autoscaler", "capacity": "No capacity of reference-app has been measured",
    "load_tests": "No load test of reference-app has been run yet", "data_tier": "No sampler told anything",
    "alerts": "No alert fired in this time range",
}  # fmt: skip
UNSCALED = """\
version: 1
services:
  shop: {source: events}
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streamlit keeps connections per process: each test is to have its own."""
    for name in ("TIDEGAUGE_CLOCK", "TIDEGAUGE_CLICKHOUSE_USER", "TIDEGAUGE_CLICKHOUSE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(ROOT / "tidegauge.yaml"))
    config.set_option("server.address", "127.0.0.1")  # no server runs here: it stands for `tidegauge up`
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def source(dashboard_store: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", dashboard_store)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", FILLED)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_USER", "tidegauge_reader")  # as `tidegauge up` has it: it may only read
    for part in ("COLLECTOR", "FORECASTER", "LOADGEN"):
        monkeypatch.setenv(f"TIDEGAUGE_{part}_URL", f"http://127.0.0.1:{free_port()}")  # away
    return monkeypatch


def drawn(page: str, **query: str) -> AppTest:
    """The page after its first run, having failed on an exception."""
    app = AppTest.from_file(str(APP), default_timeout=30)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    if page != "overview":
        app.switch_page(f"screens/{page}.py").run()
    assert not app.exception, [(each.message, each.stack_trace) for each in app.exception]
    assert not app.error, [each.value for each in app.error]
    return app


def figures(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))


def said(app: AppTest) -> str:
    return " ".join(str(each.value) for each in (*app.info, *app.warning, *app.caption))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_draws_its_figures_from_a_filled_record(page: str, source: pytest.MonkeyPatch) -> None:
    app = drawn(page)

    assert figures(app) == FIGURES[page]
    assert [each.value for each in app.warning] == [] if page not in AWAY else AWAY[page] in app.warning[0].value
    assert not app.info


@pytest.mark.parametrize("span", ["1 h", "24 h", "30 d"])
def test_the_overview_draws_every_time_range(span: str, source: pytest.MonkeyPatch) -> None:
    app = drawn("overview", span=span)

    assert app.selectbox(key="choice-span").value == span
    assert figures(app) == 3


def test_what_was_chosen_stays_chosen_on_the_next_page(source: pytest.MonkeyPatch) -> None:
    app = drawn("overview")

    app.selectbox(key="choice-span").select("3 h").run()
    app.switch_page("screens/traffic.py").run()

    assert app.selectbox(key="choice-span").value == "3 h"
    assert app.query_params["span"] in ("3 h", ["3 h"])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_that_there_is_nothing_instead_of_drawing_it(page: str, source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", EMPTY)

    app = drawn(page)

    assert figures(app) == 0
    assert EMPTY_SAYS[page] in said(app)
    assert page in ("load_tests", "alerts") or "No request of reference-app is recorded yet" in said(app)
    if page != "alerts":  # that nothing fires is known: its zeros are counts
        assert not any(metric.value in ("0", "0.00", "0.00 %") for metric in app.metric)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_that_the_tables_are_not_made_yet(page: str, source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", "never_made")

    told = said(drawn(page))

    assert "The record does not answer" in told
    assert "never_made does not exist" in told


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_that_the_record_does_not_answer(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}")

    app = drawn(page)

    assert "The record does not answer" in said(app)
    assert figures(app) == 0


@pytest.mark.parametrize("page", PAGES)
def test_a_service_without_slos_or_scaling_is_said_to_have_none(
    page: str, source: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "tidegauge.yaml"
    config.write_text(UNSCALED)
    source.setenv("TIDEGAUGE_CONFIG", str(config))

    told = said(drawn(page))

    expected = {
        "overview": "shop is not scaled", "scaling": "shop is not scaled", "slo": "it has no SLOs",
        "capacity": "shop is not scaled", "forecast": "No forecast", "load_tests": "No load test of shop",
        "data_tier": "No sampler told anything", "alerts": "No alert fired", "traffic": "No recorded request",
    }  # fmt: skip
    assert expected[page] in told


def test_a_catalog_that_cannot_be_read_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(tmp_path / "absent.yaml"))
    app = AppTest.from_file(str(APP), default_timeout=30).run()

    assert not app.exception
    assert "absent.yaml" in app.error[0].value


def test_an_absolute_range_is_looked_at_as_it_was_and_stays_in_the_url(source: pytest.MonkeyPatch) -> None:
    until = present() - timedelta(hours=2)
    since = until - timedelta(hours=1)

    app = drawn("scaling", **{"from": f"{since:%Y-%m-%dT%H:%MZ}", "to": f"{until:%Y-%m-%dT%H:%MZ}"})

    assert "as it was then" in said(app)
    assert app.query_params["from"] in (f"{since:%Y-%m-%dT%H:%MZ}", [f"{since:%Y-%m-%dT%H:%MZ}"])
    assert "span" not in app.query_params
    assert figures(app) == 1


def test_a_range_that_cannot_be_is_said_and_the_usual_one_is_shown(source: pytest.MonkeyPatch) -> None:
    app = drawn("overview", span="12 parsecs")

    assert "12 parsecs" in app.sidebar.warning[0].value
    assert app.selectbox(key="choice-span").value == "9 h"


def test_a_region_narrows_what_is_shown_and_stays_in_the_url(source: pytest.MonkeyPatch) -> None:
    whole = drawn("traffic")
    one = drawn("traffic", region="eu-west")

    assert whole.selectbox(key="choice-region").options == ["All regions", "eu-west", "us-east", "us-west"]
    assert one.query_params["region"] in ("eu-west", ["eu-west"])
    sums = [int(app.dataframe[0].value["requests"].sum()) for app in (whole, one)]
    assert 0.2 * sums[0] < sums[1] < 0.4 * sums[0]  # the fixture sends 30 % of it there


def test_a_viewer_has_nothing_to_press(source: pytest.MonkeyPatch, alert_actions: AlertActions) -> None:
    source.setenv("TIDEGAUGE_COLLECTOR_URL", alert_actions.url)
    app = drawn("alerts")
    assert not app.button(key="silence").disabled

    source.setattr("dashboard.session.local_person", lambda: Person("ana", "viewer"))
    st.cache_data.clear()
    app = drawn("alerts")
    assert not app.button
    assert "Only operators acknowledge, silence and send again; you (ana) are a viewer." in said(app)
    app = drawn("scaling")
    assert not app.button
    assert "Only operators change how it scales; you (ana) are a viewer." in said(app)


def test_a_silence_is_confirmed_made_and_shown(source: pytest.MonkeyPatch, alert_actions: AlertActions) -> None:
    source.setenv("TIDEGAUGE_COLLECTOR_URL", alert_actions.url)
    app = drawn("alerts")
    app.text_input(key="silence-name").input("search-*")
    app.button(key="silence").click().run()
    app.button(key="silence-yes").click().run()
    assert "Say why first" in said(app)

    app.button(key="silence").click().run()
    app.text_input(key="silence-why").input("index is rebuilt")
    app.button(key="silence-yes").click().run()

    assert "search-* of reference-app is silenced for 30 min." in [each.value for each in app.success]
    made = next(table.value for table in app.dataframe if "ends in" in table.value)
    assert "index is rebuilt" in list(made["why"])


def test_a_message_is_sent_again_from_the_log(source: pytest.MonkeyPatch, alert_actions: AlertActions) -> None:
    source.setenv("TIDEGAUGE_COLLECTOR_URL", alert_actions.url)
    app = drawn("alerts")
    log = next(table.value for table in app.dataframe if "receiver" in table.value)
    assert dict(zip(log["message"], log["state"], strict=True)) == {
        "msg-lost": "◆ waiting", "msg-told": "● delivered",
    }  # fmt: skip

    app.selectbox(key="replay-which").select_index(1)
    app.button(key="replay").click().run()
    app.button(key="replay-yes").click().run()

    (again,) = [each for each in alert_actions.outbox.deliveries() if each.message_id == "msg-told"]
    assert (again.state, again.attempts) == ("waiting", 0)


def test_what_the_forecaster_was_asked_for_before_it_went_away_is_not_done_and_told(
    source: pytest.MonkeyPatch,
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mode) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source.setenv("TIDEGAUGE_FORECASTER_URL", f"http://127.0.0.1:{server.server_port}")
        app = drawn("scaling")
        assert not app.button(key="act-pause").disabled
        app.button(key="act-pause").click().run()
        app.text_input(key="act-pause-why").input("black friday")
        server.shutdown()
    source.setenv("TIDEGAUGE_FORECASTER_URL", f"http://127.0.0.1:{free_port()}")
    app.button(key="act-pause-yes").click().run()

    assert "Nothing was changed, for it does not answer" in app.error[0].value


def test_nothing_can_be_pressed_while_the_forecaster_is_away_and_why_is_said(source: pytest.MonkeyPatch) -> None:
    app = drawn("scaling")

    orders = [app.button(key=f"act-{verb}") for verb in ("mode", "apply", "pause", "resume", "release")]
    assert all(order.disabled for order in orders)
    assert {order.help for order in orders} == {"The forecaster does not answer"}
    assert "The forecaster does not answer, so nothing can be changed." in said(app)


def test_what_if_asks_for_more_replicas_when_there_is_more_traffic(source: pytest.MonkeyPatch) -> None:
    app = drawn("capacity")
    app.slider(key="more").set_value(100).run()

    table = next(table.value for table in app.dataframe if "replicas" in table.value and "" in table.value)
    as_it_is, what_if = (int(count) for count in table["replicas"])
    assert as_it_is * 2 - 1 <= what_if <= as_it_is * 2  # each is rounded up to whole replicas


def test_nothing_is_drawn_for_who_did_not_come_through_the_proxy(source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_DASHBOARD_ACCESS", "proxy")
    source.setenv("TIDEGAUGE_DASHBOARD_PROXY_SECRET", "a-secret-of-the-proxy")

    app = AppTest.from_file(str(APP), default_timeout=30).run()

    assert "expected a connection through the proxy" in app.error[0].value
    assert not app.title
    assert not app.metric


def test_whoever_is_not_signed_in_sees_a_button_to_sign_in_and_no_page(source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_DASHBOARD_ACCESS", "oidc")

    app = AppTest.from_file(str(APP), default_timeout=30).run()

    assert [button.label for button in app.button] == ["Sign in"]
    assert not app.metric


def test_off_loopback_nothing_is_drawn_as_long_as_nobody_is_asked(source: pytest.MonkeyPatch) -> None:
    config.set_option("server.address", "0.0.0.0")

    app = AppTest.from_file(str(APP), default_timeout=30).run()

    assert "expected TIDEGAUGE_DASHBOARD_ACCESS=oidc or proxy" in app.error[0].value
    assert not app.metric


class Mode(BaseHTTPRequestHandler):
    """A forecaster that says which mode is in force, and closes the connection."""

    def do_GET(self) -> None:
        told = b'{"mode": "observe", "mode_configured": "observe", "mode_ordered": null, "paused": null}'
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Reports(BaseHTTPRequestHandler):
    """A forecaster that makes one report, and remembers for what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if "format=pdf" in self.path else 422)
        self.send_header("content-disposition", 'inline; filename="shop-capacity.pdf"')
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"%PDF")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_report_is_made_by_the_forecaster_and_offered_to_be_saved(source: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Reports) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source.setenv("TIDEGAUGE_FORECASTER_URL", f"http://127.0.0.1:{server.server_port}")
        app = drawn("capacity")
        app.selectbox(key="report-format").set_value("pdf")
        app.button(key="report-make").click().run()
        server.shutdown()

    assert "/v1/reports/reference-app?format=pdf&kind=capacity&horizon=90d" in Reports.asked
    assert [button.proto.label for button in app.get("download_button")] == ["Save shop-capacity.pdf"]


def test_a_report_that_cannot_be_made_says_why(source: pytest.MonkeyPatch) -> None:
    app = drawn("capacity")
    app.button(key="report-make").click().run()

    assert "No report:" in said(app)
