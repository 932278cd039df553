"""Files by a server: each photo is one ``POST /api/splat``, and comes again when the server was busy or gone.

Retried without end, as long as some photo gets through within ``patience_s``: 429 and 503, after the pause that ``Retry-After``
names; 502 and 504, which are a proxy's words for a server that is away; and connections that are refused. A photo whose connection
breaks, or that meets a 500, is tried a few times: it may be the cause.
"""

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import msgspec

from deployments.photos.errors import CommandError, PhotoFailed, Stopped
from deployments.photos.work import Maker, Track
from deployments.splats.files import FileOptions
from deployments.stream.messages import Engine
from deployments.stream.photo_options import FILE_NAMES

TIMEOUT_S = 120.0
"""Of a connection that says nothing: longer than the server's own limits for a photo."""
_CONNECT_S = 10.0
"""For a connection: a host that is there and behind no wall takes a round trip or two."""
MAX_TRIES = 7
"""Of a photo that may itself be why its connection breaks; half a minute, in which a replica that was lost is replaced."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_BUSY = (429, 502, 503, 504)
_MAX_ANSWER_BYTES = 2**30
_MAX_REFUSAL_BYTES = 64 * 1024


class RemoteMaker(Maker):
    """Makes files with a server; may be called from several threads, each of which keeps a connection open."""

    def __init__(
        self,
        url: str,
        wishes: Mapping[str, str],
        token: str | None = None,
        patience_s: float = 600.0,
        stop: threading.Event | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Ask the server what it is.

        Args:
            url: Where its page is, such as ``http://127.0.0.1:8000/``. Connected directly, whatever proxies the environment names.
            wishes: As of ``/api/splat``.
            token: The server's access token, where it has one.
            patience_s: How long nothing may get through.
            stop: Ends the waiting.
            clock_s: Measures patience.
            tell: Told once, in a sentence, that and how long it waits for a server that does not answer from the start.

        Raises:
            CommandError: It is no address, its name is not known, nobody answers, it is no Splatcast, or it refuses this client or
                these wishes.
            Stopped: Before it had answered.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            valid = None
        if not valid:
            raise CommandError(f"--url: expected the address of a server, such as http://127.0.0.1:8000/, got {url!r}")
        try:
            FileOptions(**{name: value for name, value in wishes.items() if name in FILE_NAMES})  # type: ignore[arg-type]
        except ValueError as error:
            raise CommandError(str(error)) from None
        self._parts, self._base = parts, parts.path.rstrip("/")
        self._host = parts.netloc.rpartition("@")[2]
        self._address = f"{parts.scheme}://{self._host}{self._base}/"
        self._query = urlencode(wishes)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._patience_s, self._clock_s, self._tell = patience_s, clock_s, tell
        self._has_answered = False
        self._stop = stop or threading.Event()
        self._thread = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._through_s = clock_s()
        try:
            self.engine, self.max_bytes = self._about(self._answer("GET", "/api/info", b""))
        except PhotoFailed as error:
            self.close()
            raise CommandError(f"{self._host}: {error}") from None
        except BaseException:
            self.close()
            raise
        self.made_with = {"engine": self.engine.name, "label": self.engine.label}

    def make(self, picture: bytes, track: Track) -> bytes:
        """The file of a picture. The server keeps no state between photos, so each stands for itself.

        Raises:
            PhotoFailed: The server refuses it, or fails on it again and again.
            CommandError: It refuses all of them, or nothing got through for as long as patience lasts.
            Stopped: While it waited.
        """
        return self._answer("POST", f"/api/splat?{self._query}", picture)

    def close(self) -> None:
        """Close the connections; nobody may use it any more."""
        for connection in self._connections:
            connection.close()

    def _answer(self, method: str, path: str, body: bytes) -> bytes:
        """The body of the answer to a request, once it is a good one."""
        tries, wait_s, told = 0, _FIRST_WAIT_S, False
        while not self._stop.is_set():
            pause_s: float | None = None
            try:
                status, headers, answer = self._once(method, path, body)
            except ConnectionRefusedError:
                trouble = f"nobody answers at {self._host}"
            except socket.gaierror as error:
                if error.errno == socket.EAI_NONAME and not self._has_answered:
                    raise CommandError(
                        f"--url: {self._address} names {self._parts.hostname}, which is not known: check it"
                    ) from None
                trouble = f"the name {self._parts.hostname} is not known ({error.strerror})"
            except ssl.SSLCertVerificationError as error:
                raise CommandError(f"the certificate of {self._host} is not trusted: {error.verify_message}") from None
            except (OSError, http.client.HTTPException) as error:
                trouble, tries = f"the connection to {self._host} broke ({error or type(error).__name__})", tries + 1
            else:
                self._has_answered = True
                if status == HTTPStatus.OK:
                    self._through_s = self._clock_s()
                    return answer
                code, trouble = _refusal(status, headers, answer)
                if status not in _BUSY and status != HTTPStatus.INTERNAL_SERVER_ERROR:
                    self._through_s = self._clock_s()
                    self._refuse(status, trouble)
                if status == HTTPStatus.INTERNAL_SERVER_ERROR or code == "graph_failed":
                    tries += 1
                else:
                    pause_s = _retry_after_s(headers)
            if tries >= MAX_TRIES:
                raise PhotoFailed(f"Given up after {tries} tries: {trouble}")
            if self._clock_s() - self._through_s > self._patience_s:
                raise CommandError(
                    f"nothing got through for {self._patience_s:g} s: {trouble}; the same command goes on where this one ends"
                )
            if not (self._has_answered or told):
                self._tell(f"waiting for {self._address}, for {self._patience_s:g} s at most: {trouble}")
                told = True
            # With a random part, so that those who were refused together don't come back together.
            self._stop.wait(max(pause_s or 0.0, wait_s) * random.uniform(0.75, 1.25))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S) if pause_s is None else wait_s
        raise Stopped

    def _refuse(self, status: int, sentence: str) -> NoReturn:
        if status in (400, 401, 403, 404, 405) or 300 <= status < 400:  # All photos would meet the same.
            raise CommandError(f"{self._host}: {sentence}")
        raise PhotoFailed(sentence)

    def _once(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection: http.client.HTTPConnection | None = getattr(self._thread, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            connection = self._thread.connection = kind(self._host, timeout=_CONNECT_S)
            self._connections.append(connection)
        is_reused = connection.sock is not None
        try:
            return self._exchange(connection, method, path, body)
        except ConnectionError:
            if not is_reused:
                raise
            # The server had closed it while it was idle, which is nobody's fault.
            return self._exchange(connection, method, path, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            if connection.sock is None:
                self._connect(connection)
            with suppress(BrokenPipeError, ConnectionResetError):  # It may have answered before it had all: the answer says why.
                connection.request(method, self._base + path, body or None, self._headers)
            response = connection.getresponse()
            is_good = response.status == HTTPStatus.OK
            data = response.read(_MAX_ANSWER_BYTES if is_good else _MAX_REFUSAL_BYTES)
            headers = {name.lower(): value for name, value in response.getheaders()}
            if is_good and response.length:
                raise http.client.IncompleteRead(data, response.length)
            if not is_good or response.length:
                connection.close()  # There may be more of it.
        except BaseException:
            connection.close()
            raise
        if is_good and method == "POST" and "x-splatcast-count" not in headers:
            raise CommandError(f"what answers at {self._host} is no Splatcast")
        return response.status, headers, data

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except TimeoutError:  # As good as refused, whatever the photo; a wall in between drops what it does not want.
            raise ConnectionRefusedError from None
        connection.sock.settimeout(TIMEOUT_S)

    def _about(self, answer: bytes) -> tuple[Engine, int]:
        try:
            about: Any = json.loads(answer)
            if about["name"] != "splatcast":
                raise ValueError
            return msgspec.convert(about["engine"], Engine), int(about["photos"]["max_frame_bytes"])
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"what answers at {self._host} is no Splatcast, or one of another version") from None


def _refusal(status: int, headers: Mapping[str, str], answer: bytes) -> tuple[str, str]:
    """Code and sentence of a refusal; a proxy's has no code."""
    try:
        refusal = json.loads(answer)
        return str(refusal["code"]), str(refusal["message"])
    except (ValueError, KeyError, TypeError):
        pass
    name = headers.get("server", "").partition("/")[0] or "a proxy"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "", f"{name} in front of the server takes no body of this size: nginx needs 'client_max_body_size 64m;'."
    where = f", to {headers['location']}" if "location" in headers else ""
    return "", f"{name} answers {status} ({http.client.responses.get(status, 'unknown')}){where}."


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What ``Retry-After`` asks for (RFC 9110: seconds, or a date); None if it asks for nothing that makes sense."""
    text = headers.get("retry-after", "")
    try:
        wait_s = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, wait_s), 3600.0)
