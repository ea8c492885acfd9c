"""What is added to the head of Streamlit's document: where its server is, and what pages draw with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit import file_util

from dashboard.head_start import DRAWN_WITH, document


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """A folder like Streamlit's, with two of the modules and one of another page's."""
    modules = tmp_path / "static" / "js"
    modules.mkdir(parents=True)
    for name in ("DataFrame.a1.js", "Metric.b2.js", "Balloons.c3.js"):
        (modules / name).write_text("")
    (tmp_path / "index.html").write_text("<html><head><title>Streamlit</title></head><body></body></html>")
    return tmp_path


def test_the_modules_that_are_there_are_imported_at_once_and_others_are_left_alone(static: Path) -> None:
    found = document(static)
    assert re.findall(r"/static/js/[\w.]+", found) == ["/static/js/DataFrame.a1.js", "/static/js/Metric.b2.js"]
    assert found.startswith("<html><head><title>Streamlit</title><script>")
    assert found.endswith("</script></head><body></body></html>")


@pytest.mark.parametrize(("base_path", "root"), [("", "/"), ("watch", "/watch/"), ("/ops/watch/", "/ops/watch/")])
def test_the_server_is_at_the_root_of_its_own_addresses(static: Path, base_path: str, root: str) -> None:
    found = document(static, base_path=base_path)
    assert f'{{BACKEND_BASE_URL: location.origin + "{root}"}}' in found
    assert f'"{root}static/js/Metric.b2.js"' in found


def test_the_streamlit_that_is_installed_has_a_module_for_each_name() -> None:
    found = document(Path(file_util.get_static_dir()))
    assert [name for name in DRAWN_WITH if f"/static/js/{name}." not in found] == []
