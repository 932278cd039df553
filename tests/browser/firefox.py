"""Firefox by WebDriver BiDi, which it speaks by itself: no driver program is needed, only the browser.

The specification is https://w3c.github.io/webdriver-bidi; only what the tests use of it is here. Without a screen Firefox has no
WebGL: it gets one in memory, of Xvfb.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("firefox-esr", "firefox")
PREFERENCES: dict[str, bool | int | str] = {
    # A camera that shows a moving picture, and no question about it.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    # Drawing without a GPU.
    "webgl.force-enabled": True,
    "gfx.webrender.software": True,
    # Nothing is fetched or asked that the test does not want.
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "extensions.update.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
}
START_TIMEOUT_S = 90.0
STEP_TIMEOUT_S = 120.0


def find_firefox() -> str | None:
    """``SPLATCAST_FIREFOX``, then a system browser; None: there is none."""
    return os.environ.get("SPLATCAST_FIREFOX") or next((path for name in NAMES if (path := shutil.which(name))), None)


def find_screen() -> str | None:
    """A screen's name, or the program that makes one; None: there is neither."""
    return os.environ.get("DISPLAY") or shutil.which("Xvfb")


class Firefox:
    """A browser with one tab of its own profile; a context manager."""

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self.complaints: list[str] = []

    def __enter__(self) -> "Firefox":
        self._folder = tempfile.TemporaryDirectory(prefix="splatcast-firefox-", ignore_cleanup_errors=True)
        profile = Path(self._folder.name)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        self._stack = contextlib.ExitStack()
        self._screen: subprocess.Popen[bytes] | None = None
        environment = {**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1", "MOZ_DISABLE_CONTENT_SANDBOX": "1", "HOME": str(profile)}
        if "DISPLAY" not in os.environ:
            command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"]
            self._screen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert self._screen.stdout is not None
            with self._screen.stdout as said:
                environment["DISPLAY"] = f":{said.readline().decode().strip()}"
        with (profile / "log.txt").open("wb") as log:
            command = [self._executable, "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            self._socket = self._connect(profile / "log.txt")
            self._asked = 0
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded"])
            self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
        for process in filter(None, (self._process, self._screen)):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._folder.cleanup()

    def _connect(self, log: Path) -> ClientConnection:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not (found := re.search(r"BiDi listening on (ws://\S+)", log.read_text(errors="replace"))):
            assert self._process.poll() is None, f"Firefox ended with {self._process.returncode}: {log.read_text(errors='replace')}"
            assert time.monotonic() < deadline_s, "Firefox did not say where it listens"
            time.sleep(0.2)
        return self._stack.enter_context(connect(f"{found[1]}/session", max_size=None, proxy=None))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its result. What the console says meanwhile is kept."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=STEP_TIMEOUT_S))
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.complaints.append(answer["params"]["text"] or "")
            if answer.get("id") == self._asked:
                assert answer["type"] == "success", answer
                result: dict[str, Any] = answer["result"]
                return result

    def resize(self, width: int, height: int) -> None:
        """The part of the window that shows the page, in CSS pixels."""
        self.call("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})

    def goto(self, url: str) -> None:
        """Open a page, and wait until it has loaded."""
        self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, by way of JSON."""
        answer = self.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._tab},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def wait(self, expression: str) -> Any:
        """Until the expression is true."""
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while not (value := self.evaluate(expression)):
            state = "window.splatcast && [splatcast.stats, splatcast.state.problems, splatcast.state.connectionText]"
            assert time.monotonic() < deadline_s, (expression, self.evaluate(state), self.complaints)
            time.sleep(0.2)
        return value

    def press(self, key: str) -> None:
        """A key, down and up."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self.call("input.performActions", context=self._tab, actions=[keyboard])

    def screenshot(self) -> str:
        """What the page looks like: a PNG as base64."""
        data: str = self.call("browsingContext.captureScreenshot", context=self._tab)["data"]
        return data
