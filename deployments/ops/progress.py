"""How far the start has come, on the terminal: what is still starting, that it is ready and where, or why it failed."""

import os
import re
import signal
import sys
import threading
import time
import urllib.request

_began_s = time.monotonic()


def say(text: str) -> None:
    """A line for the person at the terminal, with the seconds since the start."""
    # The terminal itself: sys.stdout is redirected, to keep out what serve prints.
    print(f"splatcast [{time.monotonic() - _began_s:4.1f} s] {text}", file=sys.__stdout__, flush=True)


class Watcher(threading.Thread):
    """Polls until a frame goes through the graph; says so, or why not.

    Attributes:
        stopped: Set it to end the watching.
        failure: Why the server will not be ready; the process has then been interrupted.
    """

    def __init__(self, url: str, timeout_s: float, hint: str = "") -> None:
        """Prepare.

        Args:
            url: The page's, with a slash at its end.
            timeout_s: For the first frame.
            hint: What to say behind the address.
        """
        super().__init__(name="watcher", daemon=True)
        self._url = url
        self._hint = hint
        # Not urlopen: a proxy that the environment names knows nothing about this machine's ports.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._deadline_s = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self.stopped = threading.Event()
        self.failure: str | None = None

    def run(self) -> None:
        """Watch until ready, failed or stopped."""
        told = ""
        while not self.stopped.wait(0.25):
            state, failure = _deployment_state()
            if failure or time.monotonic() > self._deadline_s:
                self.failure = (
                    failure
                    or f"not ready after {self._timeout_s:.0f} s ({state}); the logs are in /tmp/ray/session_latest/logs/serve"
                )
                os.kill(os.getpid(), signal.SIGINT)
                return
            if state != told:
                told = state
                say(state)
            if self._ready():
                say(f"metrics: {_metrics_url()}  (for Prometheus)")
                say(f"ready: {self._url}  (Ctrl-C stops it{self._hint})")
                return

    def _ready(self) -> bool:
        try:
            with self._opener.open(self._url + "readyz", timeout=15) as response:
                return bool(response.status == 200)
        except Exception:  # Whatever a server that is half up answers, it is not ready.
            return False


def _metrics_url() -> str:
    """Where this node's metrics are; Ray chooses the port."""
    import ray

    return f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"


def _deployment_state() -> tuple[str, str | None]:
    """What is still starting, in words, and why the application failed if it did."""
    from ray import serve

    try:
        applications = serve.status().applications
    except Exception:  # No controller yet, or one that does not answer: that is what the watcher's deadline is for.
        return "starting Serve …", None
    for application in applications.values():
        if application.status.value == "DEPLOY_FAILED":
            causes = {name: d.message for name, d in application.deployments.items() if d.message and d.status.value != "HEALTHY"}
            told = "; ".join(f"{name}: {last_sentence(message)}" for name, message in causes.items())
            return "failed", told or last_sentence(application.message)
        waiting = [name for name, d in application.deployments.items() if d.status.value not in ("HEALTHY", "RUNNING")]
        if waiting:
            return f"starting {', '.join(waiting)} …", None
    return "starting the graph …", None


def last_sentence(message: str) -> str:
    """What the exception at the end of a stack trace says."""
    lines = [line.strip() for line in message.splitlines() if line.strip() and not _PYDANTIC_LINK.match(line)]
    return _BEFORE.sub("", _PYDANTIC_VALUE.sub("", lines[-1])) if lines else "the application could not be deployed"


_PYDANTIC_LINK = re.compile(r"\s*For further information visit ")
_PYDANTIC_VALUE = re.compile(r" \[type=\w+, input_value=.*\]$")
_BEFORE = re.compile(r"^(Value error, |([\w.]+\.)?(ValueError|ModelUnavailable|NoGpuError): )")
"""Of errors whose sentence is for people; with others, the class says something."""
