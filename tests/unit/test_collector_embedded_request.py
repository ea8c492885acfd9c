"""What a URL and its headers ask of the engine, and the settings of the store."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from collector.embedded.body import read_form
from collector.embedded.errors import http_status
from collector.embedded.request import RequestError, read_credentials, read_request
from collector.embedded.settings import GIB, SettingsError, settings_from_environment


def test_settings_parameters_and_http_matters_are_told_apart() -> None:
    request = read_request(
        "POST",
        "query=SELECT+1&database=d&param_a=x%2By&insert_deduplication_token=t&session_id=s&wait_end_of_query=1"
        "&client_protocol_version=54405&query_id=q&default_format=CSV",
        {},
        memory_bytes=100,
    )
    assert request.setup.settings == (("insert_deduplication_token", "t"),)
    assert request.setup.parameters == (("a", "x+y"),)
    assert (request.setup.database, request.query, request.query_id, request.default_format) == (
        "d",
        "SELECT 1",
        "q",
        "CSV",
    )
    assert not request.setup.read_only


@pytest.mark.parametrize(("asked", "given"), [("10", 10), ("0", 100), ("5000", 100), ("", 100), ("x", 100)])
def test_a_request_may_ask_for_less_memory_but_not_for_more(asked: str, given: int) -> None:
    assert read_request("POST", f"max_memory_usage={asked}", {}, memory_bytes=100).setup.memory_bytes == given


def test_a_query_id_cannot_add_headers_to_the_answer() -> None:
    request = read_request("POST", "query_id=a%0D%0ASet-Cookie:x", {}, memory_bytes=1)
    assert "\n" not in request.query_id


def test_a_get_may_only_read() -> None:
    assert read_request("GET", "", {}, memory_bytes=1).setup.read_only


def test_a_response_is_compressed_only_when_the_setting_and_the_header_ask_for_it() -> None:
    headers = {"accept-encoding": "lz4"}
    assert read_request("POST", "", headers, memory_bytes=1).accept_encoding == ""
    assert read_request("POST", "enable_http_compression=1", headers, memory_bytes=1).accept_encoding == "lz4"


@pytest.mark.parametrize("query_string", ["a;b=1", "x%3D1%2C+y=2", "param_a%60=1", "decompress=1"])
def test_what_cannot_be_a_setting_is_refused_by_name(query_string: str) -> None:
    with pytest.raises(RequestError, match="expected"):
        read_request("POST", query_string, {}, memory_bytes=1)


def test_credentials_come_by_header_basic_or_url() -> None:
    basic = "Basic " + base64.b64encode(b"u:p:q").decode()
    assert read_credentials("", {"x-clickhouse-user": "a", "x-clickhouse-key": "b"}) == ("a", "b")
    assert read_credentials("", {"authorization": basic}) == ("u", "p:q")
    assert read_credentials("user=x&password=y", {}) == ("x", "y")
    assert read_credentials("", {"authorization": "Basic !"}) == ("", "")


def test_a_form_gives_query_and_parameters() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {a:String}\r\n'
        b'--b\r\nContent-Disposition: form-data; name="param_a"\r\n\r\nx\xc3\xa9\r\n--b--\r\n'
    )
    assert read_form(body, "multipart/form-data; boundary=b") == {"query": "SELECT {a:String}", "param_a": "xé"}


def test_statuses_are_those_of_clickhouse() -> None:
    assert [http_status(n) for n in ("SYNTAX_ERROR", "UNKNOWN_TABLE", "MEMORY_LIMIT_EXCEEDED")] == [400, 404, 500]


def test_the_memory_default_is_half_the_machine_up_to_four_gib() -> None:
    assert settings_from_environment({}, physical_memory_bytes=4 * GIB).memory_bytes == 2 * GIB
    settings = settings_from_environment({}, physical_memory_bytes=64 * GIB)
    assert (settings.memory_bytes, settings.query_memory_bytes) == (4 * GIB, 2 * GIB)
    assert (settings.port, settings.directory) == (8123, Path(".tidegauge/clickhouse"))


def test_a_wrong_setting_names_the_variable_and_what_came() -> None:
    with pytest.raises(SettingsError, match=r"TIDEGAUGE_CLICKHOUSE_PORT: expected .* got 'http'"):
        settings_from_environment({"TIDEGAUGE_CLICKHOUSE_PORT": "http"}, physical_memory_bytes=GIB)


def test_the_password_is_in_no_repr() -> None:
    environ = {"TIDEGAUGE_CLICKHOUSE_USER": "u", "TIDEGAUGE_CLICKHOUSE_PASSWORD": "very-secret"}
    assert "very-secret" not in repr(settings_from_environment(environ, physical_memory_bytes=GIB))
