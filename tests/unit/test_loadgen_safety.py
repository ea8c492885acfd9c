"""What the generator refuses to be pointed at."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loadgen.safety import (
    Limits,
    Target,
    UnsafeLoadError,
    check_duration,
    check_rate,
    check_target,
    limits_from_environment,
)


def test_loopback_is_allowed_and_other_hosts_by_name_only() -> None:
    assert check_target("http://127.0.0.1:8000", Limits()) == Target("127.0.0.1", 8000)
    assert check_target("http://[::1]:8000/", Limits()).url == "http://[::1]:8000"
    with pytest.raises(UnsafeLoadError, match=r"got 'shop\.example'"):
        check_target("http://shop.example", Limits())
    limits = limits_from_environment({"TIDEGAUGE_LOAD_ALLOWED_HOSTS": "shop.example, other"})
    assert check_target("http://Shop.example", limits) == Target("shop.example", 80)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost",
        "localhost:80",
        "http://localhost/path",
        "http://me@localhost",
        "http://localhost:x",
        "http://",
    ],
)
def test_an_address_that_is_not_http_to_a_host_is_refused(url: str) -> None:
    with pytest.raises(UnsafeLoadError, match="target: expected"):
        check_target(url, Limits())


def test_rate_and_duration_have_a_cap() -> None:
    limits = limits_from_environment({"TIDEGAUGE_LOAD_MAX_RPS": "50"})
    check_rate(50, limits)
    with pytest.raises(UnsafeLoadError, match="at most 50"):
        check_rate(50.1, limits)
    for duration in (timedelta(0), limits.max_duration + timedelta(seconds=1)):
        with pytest.raises(UnsafeLoadError, match="duration"):
            check_duration(duration, limits)


@pytest.mark.parametrize("text", ["many", "0", "nan"])
def test_a_cap_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UnsafeLoadError, match="TIDEGAUGE_LOAD_MAX_RPS"):
        limits_from_environment({"TIDEGAUGE_LOAD_MAX_RPS": text})


def test_https_is_a_target_of_its_own_port() -> None:
    target = check_target("https://localhost", Limits())
    assert (target.port, target.tls, target.url) == (443, True, "https://localhost:443")
