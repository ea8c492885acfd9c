"""Writes docs/reference from the code: commands, HTTP routes, tables, metrics. `python -m tidegauge.reference` does it.

Settings are told in docs/configuration.md by hand, because their reasons are no part of the code; a test holds that
page to the code. What the pages say is taken from help texts, docstrings and the comments of the migrations.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tidegauge.cli import app, mount_packages

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
SERVERS = {
    "collector": "Collector",
    "forecaster": "Forecaster",
    "loadgen": "Load generator",
    "tidegauge/cluster": "Local cluster",
    "reference_app": "Reference app",
}
SCHEMAS = ("collector/record/schema", "forecaster/store/schema")
_METHODS = ("get", "post", "put", "patch", "delete")
_NOTE = "Made from the code by `python -m tidegauge.reference`; do not edit."
_METRIC = re.compile(r"(?:tidegauge|reference_app)_[a-z0-9_]+")


def pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    return {"commands.md": commands(), "http.md": http(), "tables.md": tables(), "metrics.md": metrics()}


def whole_command() -> Any:
    """Return the command with those of all packages, as the command line library's own object."""
    whole = typer.Typer(help=app.info.help)
    whole.registered_commands = [*app.registered_commands]
    mount_packages(whole)
    return typer.main.get_command(whole)


def command_tree(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return every command and group by its words."""
    found = {path: command}
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        found |= command_tree(inner, (*path, name))
    return found


def commands() -> str:
    """Return the page of commands: what each does, its arguments and options."""
    lines = ["# Commands", "", _NOTE, ""]
    lines += ["Exit codes: 0 done, 1 failed or invalid, 2 misused, 99 a threshold was crossed.", ""]
    for path, command in command_tree(whole_command()).items():
        if path and not getattr(command, "commands", None):
            lines += [f"## `tidegauge {' '.join(path)}`", "", _plain(command.help), "", *_parameters(command)]
            if command.epilog:
                lines += ["", f"`{_plain(command.epilog)}`", ""]
            lines.append("")
    return _page(lines)


def _parameters(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            rows.append((f"`{parameter.name}`", _plain(getattr(parameter, "help", None)), ""))
        elif parameter.name != "help":
            names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
            rows.append((names, _plain(getattr(parameter, "help", None)), _default(parameter)))
    return (
        ["| Name | Meaning | Default |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)] if rows else []
    )


def _default(option: Any) -> str:
    if option.required:
        return "required"
    value: Any = option.default
    if value is None or value is False or callable(value) or value in ((), [], ""):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def http() -> str:
    """Return the page of HTTP routes. Bodies and answers that others rely on: ARCHITECTURE.md."""
    lines = ["# HTTP routes", "", _NOTE, ""]
    lines += [
        "What bodies hold and what is answered: [ARCHITECTURE.md](../../ARCHITECTURE.md), for the collector's sources"
    ]
    lines += ["[sources](../sources.md). The reference app describes itself at `GET /openapi.json`.", ""]
    for folder, title in SERVERS.items():
        routes = sorted(
            {route for path in _sources(folder) for route in _routes(path)}, key=lambda each: (each[1], each[0])
        )
        lines += [f"## {title}", "", "| Method | Path | Does |", "|---|---|---|"]
        lines += [f"| {method.upper()} | `{path}` | {words} |" for method, path, words in routes]
        lines.append("")
    return _page(lines)


def _routes(path: Path) -> Iterator[tuple[str, str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prefix = next((_text(_keyword(call, "prefix")) for call in _calls(tree, "APIRouter")), "")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
                    method = decorator.func.attr
                    if method in _METHODS and decorator.args and (told := _text(decorator.args[0])) is not None:
                        summary = _text(_keyword(decorator, "summary")) or node.name.replace("_", " ")
                        yield method, (prefix or "") + told, summary.rstrip(".")
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS and len(call.args) == 2:
            value = call.func.value
            if isinstance(value, ast.Name) and value.id == "web" and (told := _text(call.args[0])):
                yield call.func.attr, told, ""


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    comment: str
    columns: tuple[tuple[str, str], ...]
    kept: str


def tables() -> str:
    """Return the page of tables: columns in their order, how long rows are kept."""
    lines = ["# Tables", "", _NOTE, ""]
    lines += [
        "Rows are kept as long as said here, or as `TIDEGAUGE_RETENTION` says. On a cluster each is a distributed"
    ]
    lines += ["table over `NAME_local` on every shard.", ""]
    for folder in SCHEMAS:
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).glob("*.sql")))
        for table in _tables(text):
            lines += [f"## `{table.name}`", ""]
            lines += [table.comment, ""] if table.comment else []
            lines += [
                f"Kept {table.kept}. Written by the {folder.split('/')[0]}.",
                "",
                "| Column | Type |",
                "|---|---|",
            ]
            lines += [f"| `{name}` | {kind} |" for name, kind in table.columns] + [""]
    return _page(lines)


def _tables(text: str) -> Iterator[_Table]:
    added: dict[str, list[tuple[str, str]]] = {}
    for name, more in re.findall(r"ALTER TABLE \{database\}\.(\w+)\s+(.*?);\n", text, re.DOTALL):
        for column, kind in re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) ([^,;\n]+)", more):
            added.setdefault(name, []).append((column, _kind(kind)))
    pattern = r"((?:^--[^\n]*\n)*)^CREATE TABLE \{database\}\.(\w+) \((.*?)\n\) ENGINE = (.*?);$"
    for comment, name, body, rest in re.findall(pattern, text, re.MULTILINE | re.DOTALL):
        said = " ".join(line.removeprefix("--").strip() for line in comment.splitlines() if "shard by" not in line)
        kept = re.search(r"TTL .*?INTERVAL (\d+) (\w+)", rest)
        span = f"{kept.group(1)} {kept.group(2).lower()}{'s' if kept.group(1) != '1' else ''}" if kept else "for good"
        columns = (*((column, _kind(kind)) for column, kind in _columns(body)), *added.get(name, ()))
        yield _Table(name, said.strip(". ") + "." if said else "", tuple(columns), span)


def _columns(body: str) -> Iterator[tuple[str, str]]:
    depth, part = 0, ""
    for letter in " ".join(line for line in body.splitlines() if not line.strip().startswith("--")) + ",":
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            name, kind = part.split(maxsplit=1)
            yield name, kind
            part = ""
        else:
            part += letter


def _kind(text: str) -> str:
    kind = re.split(r" (?:CODEC|DEFAULT|ALIAS|AFTER)\b", text)[0].strip()
    return f"`{kind}`"


def metrics() -> str:
    """Return the page of metrics that our servers expose at GET /metrics."""
    lines = ["# Metrics", "", _NOTE, "", "At `GET /metrics` of each server; counters end in `_total` there.", ""]
    for folder, title in SERVERS.items():
        found = {name: words for path in _sources(folder) for name, words in _metrics(path)}
        if found:
            lines += [f"## {title}", "", "| Metric | Meaning |", "|---|---|"]
            lines += [f"| `{name}` | {words.rstrip('.')} |" for name, words in sorted(found.items())] + [""]
    return _page(lines)


def _metrics(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    prefix = next(iter(re.findall(r'f"((?:tidegauge|reference_app)_(?:\w+_)?)\{name\}"', text)), "")
    for call in (each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Call)):
        words = [told for each in call.args[:3] if (told := _text(each)) is not None]
        if len(words) < 2 or not isinstance(call.func, ast.Name | ast.Attribute):
            continue
        called = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
        name = words[0] if _METRIC.fullmatch(words[0]) else prefix + words[0] if "gauge" in called.lower() else ""
        if _METRIC.fullmatch(name) and " " in words[1]:
            yield name, words[1]


def _sources(folder: str) -> Iterable[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.keywords if each.arg == name), None)


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _plain(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("\b", "").strip()


def _page(lines: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def main() -> int:
    """Write the pages; say which changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stderr.write(f"{path.relative_to(ROOT)}: renewed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
