"""`tidegauge spool list|retry|drop`: the batches that the store refused for good.

The folder belongs to the collector: only dead letters are changed here, and a retry is posted like any batch.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from collector.terminal import collector_url, data_folder, fail

_NAMESPACE = uuid.UUID("c0f6a7de-60c1-4c57-9d43-2f0b5a5f8a11")
_Names = Annotated[list[str] | None, typer.Argument(help="As `spool list` shows them.")]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]


def mount(app: typer.Typer) -> None:
    """Add the group `spool`."""
    spool = typer.Typer(help="Batches acknowledged and not stored.", no_args_is_help=True)
    spool.command("list")(spool_list)
    spool.command("retry")(spool_retry)
    spool.command("drop")(spool_drop)
    app.add_typer(spool, name="spool")


def spool_list(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show how much waits, and the dead letters with their reasons."""
    pending = [path.stat().st_size for folder in _folders() for path in (folder / "pending").glob("*.json")]
    letters = [_described(path) for path in _letters()]
    if as_json:
        waiting = {"batches": len(pending), "bytes": sum(pending)}
        typer.echo(json.dumps({"pending": waiting, "dead_letters": letters}))
        return
    typer.echo(f"{len(pending)} batches wait ({sum(pending)} bytes), {len(letters)} dead letters")
    for each in letters:
        typer.echo(f"{each['name']}: {each['service']}, {each['events']} {each['kind']}: {each['reason']}")


def spool_retry(names: _Names = None, everything: _All = False) -> None:
    """Post dead letters to the collector again (TIDEGAUGE_COLLECTOR_URL); those it takes are removed here."""
    import httpx

    from collector.security import SecuritySettingsError, authorization

    try:
        headers = authorization(os.environ, "ingest")
    except SecuritySettingsError as error:
        fail(str(error))
    url = collector_url()
    for path in _chosen(names or [], everything=everything):
        try:
            if _kind_of(path) == "samples":
                answer = httpx.post(url + "/v1/samples/retry", json={"name": path.name}, headers=headers, timeout=30)
            else:
                answer = httpx.post(url + "/v1/events", json=_renewed(path), headers=headers, timeout=30)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            fail(f"{path.name}: could not be posted to {url}: {error}")
        if answer.status_code != 200:
            fail(f"{path.name}: the collector answered {answer.status_code}: {answer.text[:300]}")
        _remove(path)
        typer.echo(f"{path.name}: accepted again")


def spool_drop(names: _Names = None, everything: _All = False) -> None:
    """Delete dead letters: their events are lost for good."""
    for path in _chosen(names or [], everything=everything):
        _remove(path)
        typer.echo(f"{path.name}: dropped")


def _renewed(path: Path) -> dict[str, Any]:
    # Its own id is settled: a new one, made of the old, is stored once however often this is repeated.
    document: dict[str, Any] = json.loads(path.read_bytes())
    return {**document, "batch_id": str(uuid.uuid5(_NAMESPACE, document["batch_id"]))}


def _folders() -> list[Path]:
    folders = [folder for name in ("spool", "spool-samples") if (folder := data_folder() / name).is_dir()]
    if not folders:
        fail(f"{data_folder() / 'spool'}: expected the spool of a collector that has run (TIDEGAUGE_DATA)")
    return folders


def _kind_of(letter: Path) -> str:
    return "samples" if letter.parent.parent.name == "spool-samples" else "events"


def _letters() -> list[Path]:
    return sorted(path for folder in _folders() for path in (folder / "dead-letter").glob("*.json"))


def _described(path: Path) -> dict[str, Any]:
    reason, kind = path.with_name(path.name + ".reason"), _kind_of(path)
    service, count = None, None
    try:
        document = json.loads(path.read_bytes())
        if kind == "samples":
            service = ", ".join(sorted({row[2] for row in document["series"]}))
            count = len(document["samples"]["ts"]) + len(document["histograms"]["ts"])
        else:
            service, count = document["client"]["service"], len(document["columns"]["ts_us"])
    except (ValueError, KeyError, TypeError, IndexError):
        pass  # what made it a dead letter
    told = reason.read_text(encoding="utf-8") if reason.exists() else None
    return {"name": path.name, "kind": kind, "service": service, "events": count, "reason": told}


def _chosen(names: list[str], *, everything: bool) -> list[Path]:
    letters = {path.name: path for path in _letters()}
    if bool(names) == everything:
        raise typer.BadParameter("expected names of dead letters, or --all")
    unknown = [name for name in names if name not in letters]
    if unknown:
        fail(f"{', '.join(unknown)}: expected names of dead letters; `tidegauge spool list` shows them")
    return list(letters.values()) if everything else [letters[name] for name in names]


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)  # the collector removes letters of samples itself
    path.with_name(path.name + ".reason").unlink(missing_ok=True)
