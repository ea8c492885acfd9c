"""The forecaster's settings: defaults, spans, and complaints that name the variable."""

from datetime import timedelta
from pathlib import Path

import pytest

from forecaster.settings import Settings, SettingsError, parse_quantiles, parse_span, settings_from_environment


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = settings_from_environment({})
    assert settings == Settings()
    assert (settings.port, settings.config) == (9401, Path("tidegauge.yaml"))


def test_every_span_and_level_can_be_set() -> None:
    settings = settings_from_environment(
        {
            "TIDEGAUGE_FORECAST_REFRESH": "10m",
            "TIDEGAUGE_FORECAST_QUANTILES": "0.5,0.9",
            "TIDEGAUGE_FORECASTER_PORT": "0",
        }
    )
    assert settings.refresh == timedelta(minutes=10)
    assert settings.quantiles == (0.5, 0.9)
    assert settings.port == 0


def test_the_local_cluster_is_asked_on_the_port_that_was_set_for_it() -> None:
    moved = {"TIDEGAUGE_CLUSTER_PORT": "8011"}
    assert settings_from_environment(moved).cluster_url == "http://127.0.0.1:8011"
    assert settings_from_environment({**moved, "TIDEGAUGE_CLUSTER_URL": "http://h:1"}).cluster_url == "http://h:1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDEGAUGE_FORECASTER_PORT", "ninety"),
        ("TIDEGAUGE_CLUSTER_PORT", "eighty"),
        ("TIDEGAUGE_FORECAST_STEP", "5"),
        ("TIDEGAUGE_FORECAST_QUANTILES", "0.9,0.5"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_and_what_came(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: expected .*{value}"):
        settings_from_environment({name: value})


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800)])
def test_spans_name_their_unit(text: str, seconds: int) -> None:
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "0s", "1y", "nan"])
def test_a_span_without_unit_or_length_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected a span"):
        parse_span(text)


@pytest.mark.parametrize("text", ["", "0", "1", "0.5,0.5", "nan", "0.1;0.5", "0.5,"])
def test_quantiles_outside_0_to_1_or_out_of_order_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected quantile levels"):
        parse_quantiles(text)
