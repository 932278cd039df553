"""What all benchmarks' command lines share: checked numbers, one format of report, and one way to fail."""

import argparse
import functools
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import provenance
from deployments.client import ClientError

FILES = ("out", "svg")
"""Arguments that say where results are written; a report leaves them out."""


class BenchmarkError(Exception):
    """Nothing can be measured; ``str()`` says why, for the person at the terminal."""


def command(name: str) -> Callable[[Callable[[list[str]], int]], Callable[..., int]]:
    """Make a function of the command line an entry point.

    Where nothing can be measured it prints one sentence and returns 2; stopped with Ctrl-C it returns 130.
    """

    def decorate(body: Callable[[list[str]], int]) -> Callable[..., int]:
        @functools.wraps(body)
        def main(argv: Sequence[str] | None = None) -> int:
            try:
                return body(sys.argv[1:] if argv is None else list(argv))
            except (BenchmarkError, ClientError, OSError) as error:
                print(f"benchmarks.{name}: {error}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print(f"benchmarks.{name}: stopped; nothing was measured", file=sys.stderr)
                return 130

        return main

    return decorate


def new_parser(name: str, description: str, **more: Any) -> argparse.ArgumentParser:
    """A parser that knows ``--out``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description, **more)
    parser.add_argument("--out", type=Path, help="write the report to this file, as JSON")
    return parser


def start_report(name: str, version: int, argv: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """What comes first in a report: schema, command, arguments, and where it was measured.

    Call it before starting a server: the machine's load in it is to be that of others.
    """
    return {
        "schema": f"splatcast.{name}/{version}",
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *argv]),
        "args": {key: value for key, value in vars(args).items() if key not in FILES},
        **provenance(),
    }


def publish(report: dict[str, Any], text: str, out: Path | None) -> None:
    """Print what people read, and write the report if a file was named."""
    print(text)
    if out:
        out.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n")


def describe_machine(report: dict[str, Any]) -> str:
    """The machine in one line, with how busy it was before the benchmark began."""
    machine = report["machine"]
    where = ", ".join(machine.get("gpus", ())) or machine["cpu"]
    return f"{where}, {machine['cores']} cores, load before the run {machine.get('load_1min', '?')}"


def between(low: float, high: float, kind: type = float) -> Callable[[str], Any]:
    """A parser of numbers within bounds, for ``add_argument(type=…)``."""

    def parse_number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            expected = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {expected} from {low} to {high}, got {text!r}")
        return value

    return parse_number


def rising_counts(most: int) -> Callable[[str], list[int]]:
    """A parser of whole numbers such as ``1,2,4``, each larger than the one before and none above ``most``."""

    def parse_counts(text: str) -> list[int]:
        counts = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
        if not all(before < count <= most for before, count in zip([0, *counts], counts, strict=False)):
            raise argparse.ArgumentTypeError(f"expected rising whole numbers up to {most}, separated by commas, got {text!r}")
        return counts

    return parse_counts


def names(text: str) -> list[str]:
    """The words of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
