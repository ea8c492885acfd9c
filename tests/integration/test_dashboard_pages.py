"""Every page, drawn by Streamlit's own test runner: on a filled record, an empty one, one without tables, and none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import dashboard
from collector.catalog import read_catalog
from collector.clickhouse import ClickHouseSettings, connect
from tests.integration.dashboard_fixtures import create_tables, fill, present
from tests.integration.store_fixtures import free_port, shared_store_url

__all__ = ["shared_store_url"]
pytestmark = pytest.mark.server
ROOT = Path(dashboard.__file__).parents[1]
APP = Path(dashboard.__file__).parent / "app.py"
PAGES = ("overview", "slo", "traffic", "scaling")
FIGURES = {"overview": 3, "slo": 1, "traffic": 2, "scaling": 1}
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
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(scope="module")
def filled(shared_store_url: str) -> str:
    client = connect(ClickHouseSettings(url=shared_store_url, database="filled"))
    create_tables(client)
    fill(client, read_catalog(ROOT / "tidegauge.yaml").service("reference-app"), now=present())
    client.close()
    return "filled"


@pytest.fixture
def source(shared_store_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_URL", shared_store_url)
    monkeypatch.setenv("TIDEGAUGE_CLICKHOUSE_USER", "tidegauge_reader")  # as `tidegauge up` has it: it may only read
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
    assert not app.error
    return app


def figures(app: AppTest) -> int:
    return len(app.get("vega_lite_chart"))


def said(app: AppTest) -> str:
    return " ".join(str(each.value) for each in (*app.info, *app.warning, *app.caption))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_draws_its_figures_from_a_filled_record(page: str, filled: str, source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", filled)

    app = drawn(page)

    assert figures(app) == FIGURES[page]
    assert not app.warning
    assert not app.info


@pytest.mark.parametrize("span", ["1 h", "24 h", "30 d"])
def test_the_overview_draws_every_time_range(span: str, filled: str, source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", filled)

    app = drawn("overview", span=span)

    assert app.sidebar.selectbox[1].value == span
    assert figures(app) == 3


def test_what_was_chosen_stays_chosen_on_the_next_page(filled: str, source: pytest.MonkeyPatch) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", filled)
    app = drawn("overview")

    app.sidebar.selectbox[1].select("3 h").run()
    app.switch_page("screens/traffic.py").run()

    assert app.sidebar.selectbox[1].value == "3 h"
    assert app.query_params["span"] in ("3 h", ["3 h"])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_that_there_is_nothing_instead_of_drawing_it(
    page: str,
    shared_store_url: str,
    source: pytest.MonkeyPatch,
) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", "empty")
    client = connect(ClickHouseSettings(url=shared_store_url, database="empty"))
    create_tables(client)
    client.close()

    app = drawn(page)

    assert figures(app) == 0
    assert "No request of reference-app is recorded yet" in said(app)
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
    page: str, filled: str, source: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source.setenv("TIDEGAUGE_CLICKHOUSE_DATABASE", filled)
    config = tmp_path / "tidegauge.yaml"
    config.write_text(UNSCALED)
    source.setenv("TIDEGAUGE_CONFIG", str(config))

    told = said(drawn(page))

    expected = {"overview": "shop is not scaled", "scaling": "shop is not scaled", "slo": "it has no SLOs"}
    assert expected.get(page, "No recorded request") in told


def test_a_catalog_that_cannot_be_read_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEGAUGE_CONFIG", str(tmp_path / "absent.yaml"))
    app = AppTest.from_file(str(APP), default_timeout=30).run()

    assert not app.exception
    assert "absent.yaml" in app.error[0].value
