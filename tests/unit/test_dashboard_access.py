"""Who may see the dashboard, who may act through it, and where it does not start."""

from pathlib import Path

import pytest

from dashboard.__main__ import arguments, check_oidc, page_modules
from dashboard.access import (
    SECRET_HEADER,
    AccessRefusedError,
    AccessSettings,
    AccessSettingsError,
    person_by_claims,
    person_by_proxy,
    read_access,
)
from dashboard.orders import Verb, force_says, in_force_text, order
from forecaster.api.control import AskedIn, ModeIn, PauseIn

SECRET = "a-secret-of-the-proxy"
PROXY = AccessSettings("proxy", operators=("group:sre", "ana@example.com"), proxy_secrets=("an-older-secret!", SECRET))
OIDC = AccessSettings("oidc", viewers=("*@example.com",), operators=("ana@example.com",))


def test_on_loopback_nobody_is_asked_and_anywhere_else_it_is_refused():
    assert read_access({}, host="127.0.0.1").operators == ("*",)
    for everywhere in ("0.0.0.0", "", "10.1.2.3", "::"):
        with pytest.raises(AccessSettingsError, match="expected TIDEGAUGE_DASHBOARD_ACCESS=oidc or proxy"):
            read_access({}, host=everywhere)


def test_a_proxy_without_a_long_secret_is_refused_and_the_secret_never_told(tmp_path: Path):
    setting = "TIDEGAUGE_DASHBOARD_PROXY_SECRET"
    environ = {"TIDEGAUGE_DASHBOARD_ACCESS": "proxy"}
    with pytest.raises(AccessSettingsError, match="got neither"):
        read_access(environ, host="0.0.0.0")
    with pytest.raises(AccessSettingsError, match="at least 16") as told:
        read_access({**environ, setting: "short"}, host="0.0.0.0")
    assert "short" not in str(told.value)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    settings = read_access({**environ, f"{setting}_FILE": str(file)}, host="0.0.0.0")
    assert settings.proxy_secrets == (SECRET,)
    assert SECRET not in repr(settings)


def test_an_unknown_way_is_refused():
    with pytest.raises(AccessSettingsError, match="expected oidc or proxy, got 'open'"):
        read_access({"TIDEGAUGE_DASHBOARD_ACCESS": "open"}, host="127.0.0.1")


def test_only_who_comes_through_the_proxy_is_somebody():
    headers = {SECRET_HEADER.lower(): SECRET, "X-Forwarded-Email": "Ana@example.com"}

    assert person_by_proxy(PROXY, headers).role == "operator"
    for wrong in ({}, {SECRET_HEADER: "a-guess-of-somebody"}, {SECRET_HEADER: ""}):
        with pytest.raises(AccessRefusedError, match="through the proxy"):
            person_by_proxy(PROXY, {"X-Forwarded-Email": "ana@example.com", **wrong})
    with pytest.raises(AccessRefusedError, match="X-Forwarded-Email"):
        person_by_proxy(PROXY, {SECRET_HEADER: SECRET})


def test_a_group_makes_an_operator_and_others_see_only():
    headers = {SECRET_HEADER: SECRET, "X-Forwarded-Email": "bo@example.com"}

    assert person_by_proxy(PROXY, {**headers, "X-Forwarded-Groups": "dev, sre"}).role == "operator"
    assert person_by_proxy(PROXY, {**headers, "X-Forwarded-Groups": "dev"}).role == "viewer"


def test_an_address_that_is_not_verified_proves_nothing():
    claims = {"email": "ana@example.com", "email_verified": False, "sub": "1234"}

    with pytest.raises(AccessRefusedError, match="1234 is neither"):
        person_by_claims(OIDC, claims)
    assert person_by_claims(OIDC, {**claims, "email_verified": True}).role == "operator"
    assert person_by_claims(OIDC, {"email": "bo@example.com"}).role == "viewer"
    with pytest.raises(AccessRefusedError, match=r"eve@elsewhere\.com is neither"):
        person_by_claims(OIDC, {"email": "eve@elsewhere.com"})
    with pytest.raises(AccessRefusedError, match="got neither"):
        person_by_claims(OIDC, {})


def test_it_starts_where_it_may_and_says_where():
    argv = arguments({"TIDEGAUGE_DASHBOARD_PORT": "8600"}, ["--theme.base", "dark"])

    assert argv[argv.index("--server.address") + 1] == "127.0.0.1"
    assert argv[argv.index("--server.port") + 1] == "8600"
    assert argv[-1] == "dark"
    with pytest.raises(AccessSettingsError, match="not loopback"):
        arguments({"TIDEGAUGE_BIND_ADDRESS": "0.0.0.0"}, [])
    with pytest.raises(AccessSettingsError, match="expected a port"):
        arguments({"TIDEGAUGE_DASHBOARD_PORT": "http"}, [])


def test_a_login_that_cannot_work_is_refused_before_it_is_served(tmp_path: Path):
    file = tmp_path / "secrets.toml"
    with pytest.raises(AccessSettingsError, match="got none"):
        check_oidc([file])
    file.write_text('[auth]\nredirect_uri = "https://a/oauth2callback"\nclient_secret = "very secret"\n')
    with pytest.raises(AccessSettingsError, match="missing: cookie_secret, client_id, server_metadata_url") as told:
        check_oidc([file])
    assert "very secret" not in str(told.value)
    rest = 'cookie_secret = "x"\nclient_id = "y"\nserver_metadata_url = "https://id"\n'
    file.write_text(file.read_text() + rest)
    check_oidc([tmp_path / "absent.toml", file])


def test_an_order_asks_the_forecaster_as_it_wants_to_be_asked():
    said = {"who": "ana", "reason": "black friday"}

    assert order("pause", "shop", who="ana", why="black friday") == ("/v1/pause", {**said, "service": "shop"})
    assert order("resume", "shop", who="ana", why="black friday") == ("/v1/resume", {**said, "service": "shop"})
    assert order("release", "shop", who="ana", why="black friday") == ("/v1/services/shop/release", said)
    assert order("apply", "shop", who="ana", why="black friday") == ("/v1/services/shop/apply", said)
    asked = order("mode", "shop", who="ana", why="black friday", mode="act")
    assert asked == ("/v1/services/shop/mode", {**said, "mode": "act"})
    _, forced = order("apply", "shop", who="ana", why="black friday", forced=True)
    assert forced == {**said, "force": True}


def test_only_what_a_gate_may_refuse_can_be_forced():
    assert "recorded as forced" in force_says("mode", "act")
    assert "Recorded as forced" in force_says("apply", "observe")
    assert [force_says(verb, "observe") for verb in ("mode", "pause", "resume", "release")] == [""] * 4


def test_the_mode_in_force_is_told_with_who_ordered_it_and_what_is_configured():
    ordered = {"at": "2026-11-22T19:25:00Z", "actor": "ana", "reason": "the sale", "forced": True}
    told = {"mode": "act", "mode_configured": "observe", "mode_ordered": ordered, "paused": "by bo: a deploy"}

    text = in_force_text(told, "Europe/Berlin")

    assert "Mode **act**, ordered by ana at 22 Nov 19:25 UTC · 20:25 CET, forced: the sale." in text
    assert "tidegauge.yaml says observe" in text
    assert "**Paused**: by bo: a deploy" in text
    assert in_force_text({**told, "mode": "observe", "mode_ordered": None, "paused": None}) == (
        "Mode **observe**, as tidegauge.yaml says. ● Not paused."
    )


@pytest.mark.parametrize(
    ("verb", "model"),
    [("pause", PauseIn), ("resume", PauseIn), ("release", AskedIn), ("apply", AskedIn), ("mode", ModeIn)],
)
def test_the_forecaster_understands_every_order(verb: Verb, model: type[AskedIn]):
    _, body = order(verb, "shop", who="ana", why="black friday", mode="act")

    assert model.model_validate(body).who == "ana"  # it refuses what it does not know


def test_what_pages_stand_on_is_imported_ahead_and_no_page_is_drawn_by_it() -> None:
    names = page_modules()
    assert {"dashboard.context", "dashboard.queries.record", "dashboard.charts.figure", "dashboard.tables.slo"} <= {
        *names
    }
    assert not [name for name in names if "screens" in name or name == "dashboard.app"]
