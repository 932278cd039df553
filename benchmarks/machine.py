"""Where a figure comes from: the commit, the machine and the versions, for every benchmark's report."""

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGES = ("ray", "numpy", "numba", "uvicorn", "websockets", "torch")


def provenance() -> dict[str, Any]:
    """``at``, ``commit``, ``machine`` and ``versions``; what can't be found out is missing or null."""
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines(),
            "os": platform.platform(),
            "load_1min": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := _version(name))}},
    }


def commit() -> str | None:
    """The commit of the checkout, with ``+changes`` if it was edited since; None outside a checkout."""
    found = _output("git", "-C", str(ROOT), "rev-parse", "HEAD").strip()
    changed = found and _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no").strip()
    return f"{found}{'+changes' if changed else ''}" or None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
