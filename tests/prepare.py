"""What ``make test`` needs beyond Python packages: a Chromium. Installed here where that is possible, explained where not."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> int:
    """Make sure that a browser is there. Returns the exit status."""
    if os.environ.get("SPLATCAST_CHROMIUM") or any(map(shutil.which, NAMES)) or _playwright_has_one():
        return 0
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("The browser tests need Chromium: installing Debian's …", flush=True)
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL, "check": True}
        try:
            subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], **quiet)  # type: ignore[call-overload]
            return 0
        except subprocess.CalledProcessError as error:
            print(f"apt-get failed with status {error.returncode}.", file=sys.stderr)
    print(
        "The browser tests need Chromium. Either 'sudo apt-get install chromium', or '.venv/bin/playwright install chromium', "
        "or set SPLATCAST_CHROMIUM to its path; then run make test again.",
        file=sys.stderr,
    )
    return 1


def _playwright_has_one() -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return os.path.exists(playwright.chromium.executable_path)


if __name__ == "__main__":
    sys.exit(main())
