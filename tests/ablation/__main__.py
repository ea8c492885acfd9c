"""Does each measure of the reference app have a test that notices when it is gone? `make test-ablation` asks.

For each row of `measures.toml`: the named test must pass as the app is set by default, and fail by an assertion (not by
an error of its set-up) when the row's settings switch the measure off. Prints measure x setting x test, writes JSON.

    python -m tests.ablation [--only WORD] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

MEASURES = Path(__file__).with_name("measures.toml")
LONGEST_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Measure:
    """A row: the part of the app, what switches it off (environment), and the test that must notice."""

    part: str
    off: dict[str, str]
    test: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the test said with the measure on and off: passed, failed, error or skipped; and why it failed."""

    part: str
    setting: str
    test: str
    on: str
    off: str
    reason: str

    @property
    def holds(self) -> bool:
        """True when the test stands and falls with the measure."""
        return self.on == "passed" and self.off == "failed"


def read_measures(path: Path = MEASURES) -> list[Measure]:
    """Return the rows of the file; an unknown or missing key raises TypeError with its name."""
    return [Measure(**row) for row in tomllib.loads(path.read_text(encoding="utf-8"))["measure"]]


def outcome(test: str, settings: dict[str, str]) -> tuple[str, str]:
    """Run one test in a process of its own with settings; return passed, failed, error or skipped, and the reason."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junit-xml={report}", test]
        environment = os.environ | settings
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
        if not report.exists():
            return "error", (done.stderr or done.stdout).strip().splitlines()[-1]
        cases = list(Xml.parse(report).getroot().iter("testcase"))
    if not cases:
        return "error", f"no such test: {test}"
    for kind, said in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        for case in cases:
            if (found := case.find(kind)) is not None:
                return said, (found.get("message") or "").strip().splitlines()[0][:110]
    return "passed", ""


def examine(measure: Measure) -> Finding:
    """Run the measure's test with the measure on, then off."""
    on, why = outcome(measure.test, {})
    off, reason = outcome(measure.test, measure.off) if on == "passed" else ("not run", why)
    setting = " ".join(f"{name}={value}" for name, value in measure.off.items())
    return Finding(measure.part, setting, measure.test, on, off, reason)


def main() -> int:
    """Examine every measure; exit 1 unless each one's test stands and falls with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="measures whose part, setting or test has this word")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measures = [one for one in read_measures() if arguments.only in f"{one.part} {one.off} {one.test}"]
    findings = []
    began = time.monotonic()
    for number, measure in enumerate(measures, 1):
        finding = examine(measure)
        findings.append(finding)
        verdict = "holds" if finding.holds else "DOES NOT HOLD"
        print(f"[{number}/{len(measures)}, {time.monotonic() - began:.0f} s] {finding.part}: {verdict}")
        print(f"    {finding.setting}  x  {finding.test}")
        print(f"    on: {finding.on}; off: {finding.off}{': ' if finding.reason else ''}{finding.reason}", flush=True)
    held = sum(finding.holds for finding in findings)
    print(f"{held} of {len(findings)} measures have a test that fails without them")
    if arguments.json:
        rows = [asdict(finding) | {"holds": finding.holds} for finding in findings]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if findings and held == len(findings) else 1


if __name__ == "__main__":
    raise SystemExit(main())
