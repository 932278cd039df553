"""What ``make test`` needs beyond Python packages. Installed here where that is possible, explained where not.

That is a Chromium; a Firefox with a screen in memory, an nginx and Prometheus, without which only their own tests are skipped.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOXES = ("firefox-esr", "firefox")


def main() -> int:
    """Make sure that a browser is there. Returns the exit status."""
    if not shutil.which("nginx"):
        _install("nginx-light", "The tests of the viewer behind a proxy")
    if not shutil.which("promtool"):
        _install("prometheus", "The tests of the alerts")
    if not (os.environ.get("SPLATCAST_FIREFOX") or any(map(shutil.which, FIREFOXES))):
        _install("firefox-esr", "The tests in Firefox")
    if not (os.environ.get("DISPLAY") or shutil.which("Xvfb")):
        _install("xvfb", "The tests in Firefox")
    if os.environ.get("SPLATCAST_CHROMIUM") or any(map(shutil.which, NAMES)) or _playwright_has_one():
        return 0
    if _install("chromium", "The browser tests"):
        return 0
    print(
        "The browser tests need Chromium. Either 'sudo apt-get install chromium', or '.venv/bin/playwright install chromium', "
        "or set SPLATCAST_CHROMIUM to its path; then run make test again.",
        file=sys.stderr,
    )
    return 1


def _install(package: str, who: str) -> bool:
    """Debian's package, where that can be done without asking anybody. Returns whether it is there."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    print(f"{who} need {package}: installing Debian's …", flush=True)
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL, "check": True}
    try:
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], **quiet)  # type: ignore[call-overload]
    except subprocess.CalledProcessError as error:
        print(f"apt-get failed with status {error.returncode}.", file=sys.stderr)
        return False
    return True


def _playwright_has_one() -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return os.path.exists(playwright.chromium.executable_path)


if __name__ == "__main__":
    sys.exit(main())
