"""The audit's verdict on outputs as the two tools print them."""

import json
from typing import Any

import pytest

from audit import CLEAN, FOUND, UNKNOWN, Report, read_npm_audit, read_pip_audit, verdict

SKIPPED = {"name": "ray", "skip_reason": "Dependency not found on PyPI and could not be audited: ray (2.60.0)"}
FINE = {"name": "numpy", "version": "2.4.6", "vulns": []}
OURS = {"name": "splatcast", "skip_reason": "Dependency not found on PyPI and could not be audited: splatcast (0.1.0)"}
BAD = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [{"id": "PYSEC-2023-175", "fix_versions": ["10.0.1"], "aliases": ["CVE-2023-4863"], "description": "libwebp"}],
}


def pip(*dependencies: Any) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def npm(**vulnerabilities: Any) -> str:
    return json.dumps(
        {
            "auditReportVersion": 2,
            "vulnerabilities": vulnerabilities,
            "metadata": {"dependencies": {"prod": 4, "dev": 60, "total": 63}},
        }
    )


ESBUILD = {
    "name": "esbuild",
    "severity": "moderate",
    "isDirect": True,
    "via": [{"source": 1102341, "title": "any website can send requests to the development server", "range": "<=0.24.2"}],
    "effects": ["vite"],
    "range": "<=0.24.2",
}
VITE = {"name": "vite", "severity": "moderate", "via": ["esbuild"], "effects": [], "range": "0.11.0 - 6.1.6"}
NPM_405 = json.dumps(
    {
        "message": "405 Method Not Allowed - POST https://registry.example/-/npm/v1/security/advisories/bulk",
        "statusCode": 405,
        "error": {"summary": "", "detail": ""},
    }
)
NPM_REFUSED = json.dumps(
    {"message": "request to https://registry failed, reason: connect ECONNREFUSED", "error": {"summary": "", "detail": ""}}
)


def status(*reports: Report) -> int:
    return verdict(reports)[0]


def test_nothing_known_is_a_zero_that_says_of_how_many() -> None:
    code, lines = verdict([read_pip_audit(pip(FINE, OURS)), read_npm_audit(npm())])
    assert code == CLEAN
    assert lines == ["PyPI: no known vulnerability in 1 packages.", "npm: no known vulnerability in 63 packages."]


def test_what_is_found_is_named_with_the_version_that_mends_it() -> None:
    code, lines = verdict([read_pip_audit(pip(FINE, BAD)), read_npm_audit(npm())])
    assert code == FOUND and lines[0] == "PyPI: pillow 9.0.0: PYSEC-2023-175, fixed in 10.0.1"
    code, lines = verdict([read_pip_audit(pip(FINE)), read_npm_audit(npm(esbuild=ESBUILD, vite=VITE))])
    assert code == FOUND and "esbuild <=0.24.2: moderate: any website" in lines[1] and lines[2].endswith("through esbuild")


@pytest.mark.parametrize("output", ["", "Traceback (most recent call last):", "[]", "{}", pip(), pip(SKIPPED, OURS)])
def test_a_pypi_that_answers_for_nothing_is_not_safety(output: str) -> None:
    code, lines = verdict([read_pip_audit(output), read_npm_audit(npm())])
    assert code == UNKNOWN and "NOT AUDITED" in lines[0] and "could not be" in lines[0]


@pytest.mark.parametrize(("output", "words"), [("", ""), (NPM_405, "405"), (NPM_REFUSED, "ECONNREFUSED"), ("null", "")])
def test_an_npm_that_does_not_answer_is_not_safety(output: str, words: str) -> None:
    code, lines = verdict([read_pip_audit(pip(FINE)), read_npm_audit(output)])
    assert code == UNKNOWN and "NOT AUDITED" in lines[1] and words in lines[1]


def test_packages_without_an_answer_are_named() -> None:
    code, lines = verdict([read_pip_audit(pip(FINE, SKIPPED, OURS))])
    assert code == UNKNOWN and "no answer for ray." in lines[0]


def test_a_finding_counts_more_than_what_is_unknown() -> None:
    assert status(read_pip_audit(pip(BAD, SKIPPED)), read_npm_audit("")) == FOUND
