"""``make audit``: are there known vulnerabilities in what we install? Asks pip-audit (PyPI) and npm audit.

Exit status: 0 none is known, 1 some are, and named, 3 a database could not be asked about everything: that says nothing of safety.
pip-audit by itself ends with "No known vulnerabilities found" when PyPI answers for not a single package; here that is a 3.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatch_build import ROOT, WebBuildFailed, node_and_npm, node_environment

CLEAN, FOUND, UNKNOWN = 0, 1, 3
TIMEOUT_S = 300
"""Of one tool. A hundred packages take PyPI half a minute."""
ANSWER_TIMEOUT_S = 15
OURS = ("splatcast",)
"""On no index that a vulnerability could be reported to."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one database says.

    Attributes:
        source: Its name.
        asked: Packages it has answered for.
        found: A line for each vulnerability.
        unknown: Why it says nothing, or of which packages; empty if it was asked about all.
    """

    source: str
    asked: int
    found: tuple[str, ...] = ()
    unknown: str = ""


def read_pip_audit(output: str) -> Report:
    """What ``pip-audit --format json`` printed."""
    source, answer = "PyPI", _json(output)
    if answer is None or not isinstance(dependencies := answer.get("dependencies"), list):
        return Report(source, 0, unknown="it could not be reached")
    asked = [entry for entry in dependencies if "skip_reason" not in entry]
    # Builds that PyPI does not have, such as torch 2.13.0+cpu, are among them: nobody answers for those.
    skipped = [entry["name"] for entry in dependencies if "skip_reason" in entry and entry["name"] not in OURS]
    found = [
        f"{entry['name']} {entry['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for entry in asked
        for flaw in entry["vulns"]
    ]
    unknown = ""
    if not asked:
        unknown = f"it has an answer for none of {len(dependencies)} packages, so it could not be asked"
    elif skipped:
        unknown = f"it has no answer for {', '.join(skipped)}"
    return Report(source, len(asked), tuple(found), unknown)


def read_npm_audit(output: str) -> Report:
    """What ``npm audit --json`` printed."""
    source, answer = "npm", _json(output)
    if answer is None or not isinstance(vulnerabilities := answer.get("vulnerabilities"), dict):
        reason = str((answer or {}).get("message", ""))[:200]
        return Report(source, 0, unknown="it could not be asked" + (f": {reason}" if reason else ""))
    total = answer.get("metadata", {}).get("dependencies", {}).get("total", 0)
    found = []
    for name, entry in vulnerabilities.items():
        # What is affected through another package names that package instead.
        titles = [via["title"] for via in entry["via"] if isinstance(via, dict)] or [f"through {', '.join(entry['via'])}"]
        found.append(f"{name} {entry['range']}: {entry['severity']}: {'; '.join(titles)}")
    return Report(source, total, tuple(found))


def verdict(reports: Sequence[Report]) -> tuple[int, list[str]]:
    """The exit status and what to print."""
    lines = []
    for report in reports:
        lines += [f"{report.source}: {line}" for line in report.found]
        if report.unknown:
            lines.append(f"{report.source}: NOT AUDITED: {report.unknown}. Run it where the database can be reached.")
        elif not report.found:
            lines.append(f"{report.source}: no known vulnerability in {report.asked} packages.")
    if any(report.found for report in reports):
        return FOUND, lines
    return (UNKNOWN if any(report.unknown for report in reports) else CLEAN), lines


def main() -> int:
    """Ask both, print, and return the exit status."""
    pip_audit = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    reports = [read_pip_audit(_run([*pip_audit, "--timeout", str(ANSWER_TIMEOUT_S)], ROOT))]
    try:
        node, npm = node_and_npm()
    except WebBuildFailed as error:
        reports.append(Report("npm", 0, unknown=str(error)))
    else:
        command = [*npm, "audit", "--json", f"--fetch-timeout={ANSWER_TIMEOUT_S * 1000}", "--fetch-retries=1"]
        reports.append(read_npm_audit(_run(command, ROOT / "web", node_environment(node))))
    status, lines = verdict(reports)
    print("\n".join(lines))
    return status


def _run(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a tool prints; its exit status says less, as both end with 1 for a finding and for a failure."""
    try:
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


if __name__ == "__main__":
    sys.exit(main())
