"""The documents keep up with the code."""

import base64
import re
import time
from pathlib import Path
from typing import Any

import pytest

from collector.alerts.webhooks import signature
from collector.catalog import read_catalog
from loadgen.scenario.file import parse_scenario
from tidegauge.reference import FOLDER, command_tree, pages, whole_command

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("collector", "forecaster", "dashboard", "reference_app", "loadgen", "tidegauge")
SOURCES = {path: path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:TIDEGAUGE|REFERENCE_APP)_[A-Z_]*[A-Z]\b", text))


def test_every_setting_that_the_code_reads_is_documented():
    quoted = {
        name for text in SOURCES.values() for name in re.findall(r'"((?:TIDEGAUGE|REFERENCE_APP)_[A-Z_]+)"', text)
    }

    assert quoted - names_in((ROOT / "docs" / "configuration.md").read_text()) == set()


def test_every_documented_setting_exists_in_the_code_or_the_compose_file():
    known = names_in("\n".join(SOURCES.values()) + (ROOT / "docker-compose.yml").read_text())
    settings = (ROOT / "tidegauge" / "settings.py").read_text()  # its fields are the variables TIDEGAUGE_<FIELD>
    known |= {f"TIDEGAUGE_{field.upper()}" for field in re.findall(r"^    (\w+):", settings, re.MULTILINE)}

    assert names_in((ROOT / "docs" / "configuration.md").read_text()) - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_into_documents_lead_to_a_heading(document: Path):
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", document.read_text())

    assert [
        f"{path}#{anchor}"
        for path, anchor in links
        if anchor not in anchors_of((document.parent / path if path else document).read_text())
    ] == []


def test_the_index_leads_to_every_page():
    linked = set(re.findall(r"\]\(([a-z-]+(?:/[a-z-]+)?\.md)", (ROOT / "docs" / "README.md").read_text()))
    pages_there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}

    assert pages_there - {"README.md"} == linked


def test_every_package_of_the_readme_exists():
    rows = re.findall(r"^\| `(\w+)/`", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert set(rows) == set(PACKAGES)


def test_every_make_target_of_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"^make ([a-z-]+)", path.read_text(), re.MULTILINE)}

    assert named
    assert named <= targets


def commands_in(text: str) -> list[str]:
    """Every `tidegauge ...` of code blocks and inline code, up to a pipe, a comment or the line's end."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    typed = [line for block in fenced for line in block.splitlines()]
    typed += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in typed:
        words = re.match(r"(?:\S+=\S+ )*tidegauge (?!in\b)([a-z].*?)(?:\s+[#|>].*)?$", line.strip())
        if words:
            found.append(words.group(1))
    return found


TREE = command_tree(whole_command())


def fault_of(line: str) -> str | None:
    """What is wrong with a command as a document writes it; None when the command and its options exist."""
    words, path = line.split(), ()
    while words and (*path, words[0].split("|")[0]) in TREE:
        path = (*path, words.pop(0).split("|")[0])
    if not path:
        return f"no command {line!r}"
    command = TREE[path]
    if getattr(command, "commands", None) and words and not words[0].startswith("-") and not is_shortened(path):
        return f"{' '.join(path)} has no command {words[0]!r}"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = re.findall(r"(?<![\w-])--[a-z][\w-]*", " ".join(words))
    missing = sorted(set(asked) - known - {"--help"}) if not is_shortened(path) else []
    return f"{' '.join(path)} has no {', '.join(missing)}" if missing else None


def is_shortened(path: tuple[str, ...]) -> bool:
    """`tidegauge forecast SERVICE` means `forecast show SERVICE`, and `report SERVICE` `report show SERVICE`."""
    return path in (("forecast",), ("report",))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_the_documents_exists_with_its_options(document: Path):
    assert [fault for line in commands_in(document.read_text()) if (fault := fault_of(line))] == []


def test_a_command_that_is_not_there_would_be_noticed():
    assert fault_of("slo stauts shop") == "slo has no command 'stauts'"
    assert fault_of("slo status shop --nothing") == "slo status has no --nothing"
    assert fault_of("nothing shop") is not None
    assert commands_in("```sh\nA=1 tidegauge slo status shop  # why\n```\n`tidegauge up`") == ["slo status shop", "up"]


def test_every_command_is_in_a_document():
    texts = "\n".join(path.read_text() for path in DOCUMENTS if path.name != "CHANGELOG.md")
    named = [words for line in commands_in(texts) for words in [line.split()]]
    leaves = [path for path, command in TREE.items() if path and not getattr(command, "commands", None)]
    missing = [
        " ".join(path)
        for path in leaves
        if not any(len(words) >= len(path) and [*path][:-1] == words[: len(path) - 1]
                   and path[-1] in words[len(path) - 1].split("|") for words in named)
    ]  # fmt: skip

    assert missing == []


@pytest.mark.parametrize("page", ["commands.md", "http.md", "tables.md", "metrics.md"])
def test_the_reference_is_that_of_the_code(page: str):
    assert (FOLDER / page).read_text() == pages()[page], "renew it: python -m tidegauge.reference"


def test_every_kind_of_alert_has_a_runbook():
    kinds = set(
        re.findall(
            r'kind="([a-z-]+)"', "\n".join((ROOT / "collector" / "alerts" / name).read_text() for name in ("rules.py",))
        )
    )
    posted = {
        name
        for path, text in SOURCES.items()
        if "/v1/alerts" in text
        for name in re.findall(r'^NAME = "([a-z-]+)"', text, re.MULTILINE)
    }
    sections = set(re.findall(r"^## ([a-z-]+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE))

    assert kinds | posted
    assert kinds | posted <= sections


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_tidegauge_yaml_of_the_documents_is_accepted(document: Path, tmp_path: Path):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)

    for text in blocks:
        if re.search(r"^services:", text, re.MULTILINE):
            (tmp_path / "tidegauge.yaml").write_text(text)
            assert read_catalog(tmp_path / "tidegauge.yaml").services


def test_the_check_of_a_webhooks_signature_takes_ours_and_refuses_every_other():
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "how-to.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    key, body, now = b"k" * 32, b'{"status": "firing"}', int(time.time())
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = {"webhook-id": "m1", "webhook-timestamp": str(now)}
    headers["webhook-signature"] = signature([b"o" * 32, key], "m1", now, body)

    assert names["is_ours"](headers, body, secret)
    assert not names["is_ours"](headers, body + b" ", secret)
    assert not names["is_ours"]({**headers, "webhook-timestamp": str(now - 3600)}, body, secret)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_scenario_of_the_documents_is_accepted(document: Path):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)

    for text in blocks:
        if re.search(r"^scenarios:", text, re.MULTILINE):
            parse_scenario(text, name=document.name)
