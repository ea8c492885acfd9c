"""The documents keep up with the code."""

import re
from pathlib import Path

import pytest

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


def test_every_package_of_the_readme_exists():
    rows = re.findall(r"^\| `(\w+)/`", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert set(rows) == set(PACKAGES)


def test_every_make_target_of_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in DOCUMENTS for name in re.findall(r"^make ([a-z-]+)", path.read_text(), re.MULTILINE)}

    assert named
    assert named <= targets
