"""The `exporters` block of tidegauge.yaml and its secrets from the environment, which are shown nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from collector.alerts.receivers import is_url
from collector.checked_yaml import Block

Kind = Literal["prometheus", "otlp", "datadog", "cloudwatch"]
KINDS = ("prometheus", "otlp", "datadog", "cloudwatch")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "prometheus": (),
    "otlp": ("url", "headers_env"),
    "datadog": ("url", "api_key_env"),
    "cloudwatch": ("url", "region", "namespace", "access_key_id_env", "secret_access_key_env", "session_token_env"),
}
DATADOG_URL = "https://api.datadoghq.com"


class ExporterSettingsError(ValueError):
    """An exporter's environment variable is absent or not as expected."""


@dataclass(frozen=True, slots=True)
class ExporterSettings:
    """One exporter as the file has it. secrets: names of environment variables, by what they hold."""

    kind: Kind
    most_routes: int
    url: str = ""
    region: str = ""
    namespace: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exporter:
    """One exporter with what the environment has for it."""

    settings: ExporterSettings
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The exporter's name: its kind, of which there is one."""
        return self.settings.kind


def read_exporters(block: Block) -> tuple[ExporterSettings, ...]:
    """Check the list `exporters`. Raises CatalogError."""
    exporters = tuple(_exporter(each) for each in block.sequence())
    kinds = [each.kind for each in exporters]
    if len(set(kinds)) != len(kinds):
        block.refuse("each kind of exporter once", f"the kinds {', '.join(kinds)}")
    return exporters


def _exporter(block: Block) -> ExporterSettings:
    kind = cast("Kind", block.required("kind").one_of(*KINDS))
    block.only("kind", "most_routes", *_KEYS[kind])
    names = [key for key in _KEYS[kind] if key.endswith("_env")]
    needed = {"datadog": ("api_key_env",), "cloudwatch": ("access_key_id_env", "secret_access_key_env")}
    for key in needed.get(kind, ()):
        block.required(key)
    region = block.required("region").text() if kind == "cloudwatch" else ""
    url = block.optional("url", _url) if kind != "prometheus" else None
    if kind == "otlp" and url is None:
        block.required("url")
    defaults = {"datadog": DATADOG_URL, "cloudwatch": f"https://monitoring.{region}.amazonaws.com"}
    return ExporterSettings(
        kind=kind,
        most_routes=block.optional("most_routes", lambda each: each.whole_number(1)) or 50,
        url=(url or defaults.get(kind, "")).rstrip("/"),
        region=region,
        namespace=(block.optional("namespace", Block.text) or "Tidegauge") if kind == "cloudwatch" else "",
        secrets={key: name for key in names if (name := block.optional(key, Block.text)) is not None},
    )


def _url(block: Block) -> str:
    if not is_url(block.text()):
        block.refuse("http(s)://host[:port][/path] without user or password")
    return block.text()


def resolve_exporters(settings: Sequence[ExporterSettings], environ: Mapping[str, str]) -> list[Exporter]:
    """Return the exporters with their secrets. Raises ExporterSettingsError; names no secret."""
    return [
        Exporter(each, {key: _secret(each, name, environ) for key, name in each.secrets.items()}) for each in settings
    ]


def _secret(exporter: ExporterSettings, name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if not value:
        raise ExporterSettingsError(f"exporters {exporter.kind}: expected {name} in the environment, got nothing")
    if not value.isascii() or not value.isprintable():
        raise ExporterSettingsError(f"exporters {exporter.kind}: {name}: expected printable ASCII")
    return value
