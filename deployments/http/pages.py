"""The viewer: its pages, and the files that they load.

A browser must never run files of two builds together. A chunk has a hash in its name and may be kept for good; pages, entries,
workers and style sheets have the same name in every build, so the browser asks each time, and is answered by their content: in
wheels and images of a reproducible build every file has the same time, and an entry that imports other chunks the same size.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from mimetypes import guess_type
from os import PathLike, stat_result
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.http.access import PAGES, path_in_app
from deployments.http.answers import NOT_KEPT

STATIC_FOLDER = Path(__file__).parent / "static"
_HASHED = re.compile(r"-[A-Z2-7]{8}\.js$")
"""The end of a chunk's name, as esbuild writes it (``chunkNames`` in ``web/build.mjs``)."""
_PACKED = ".gz"
"""What the build adds to the name of a file that it has compressed as well."""
_KEEP, _ASK_EACH_TIME = "max-age=31536000, immutable", "no-cache"


class PageRedirects:
    """Leads a browser to a page that it asks for with a slash too few or too many.

    By an address relative to the one it asked for: what this server takes for its own scheme, host and prefix is the last proxy's.
    In front of the access rules, which would take a token out of the query: the page wants it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect, or hand on."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and (page := _page_meant(scope)):
            query: str = scope["query_string"].decode("latin-1")
            response = RedirectResponse(f"{page}?{query}" if query else page, headers=NOT_KEPT)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _page_meant(scope: Scope) -> str | None:
    path = path_in_app(scope)
    if path == "":
        # All of what the page loads is relative to the prefix with a slash. "./": a segment may have a colon in it.
        return f"./{scope['path'].rpartition('/')[2]}/"
    if path != "/" and path.endswith("/") and path[:-1] in PAGES:
        return f"..{path[:-1]}"
    return None


class ViewerFiles(StaticFiles):
    """The folder that the build wrote."""

    def __init__(self, folder: Path) -> None:
        """Serve a folder; it need not be there yet."""
        super().__init__(directory=folder, check_dir=False)
        self._folder = folder

    def page(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """A handler for one of the viewer's pages."""

        async def serve_page(request: Request) -> Response:
            path = self._folder / name
            if not path.is_file():
                text = f"The viewer has not been built: {name} is missing. Run 'make web' (or 'pip install .') and start again.\n"
                return PlainTextResponse(text, 503, NOT_KEPT)
            return self.file_response(path, path.stat(), request.scope)

        return serve_page

    def beside(self, path: Path) -> Callable[[Request], Awaitable[Response]]:
        """A handler for a file that lies elsewhere, and need not be there."""

        async def serve_file(request: Request) -> Response:
            if not path.is_file():
                raise HTTPException(404)
            return self.file_response(path, path.stat(), request.scope)

        return serve_file

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file with its cache rules, compressed where the browser takes that, or word that the browser's copy is still good."""
        path, asked = Path(full_path), Headers(scope=scope)
        packed = path.with_name(path.name + _PACKED)
        is_packed = packed.is_file()
        # A part of a file is counted in the bytes of the file itself.
        sends_packed = is_packed and "range" not in asked and _takes_gzip(asked.get("accept-encoding", ""))
        sent = packed if sends_packed else path
        response = FileResponse(sent, status_code, media_type=guess_type(path.name)[0])
        if sends_packed:
            response.headers["content-encoding"] = "gzip"
        if is_packed:
            response.headers["vary"] = "accept-encoding"
        hashed = _HASHED.search(path.name)
        response.headers["cache-control"] = _KEEP if hashed else _ASK_EACH_TIME
        # Each of the two has a tag of its own: they are different bytes.
        stat = sent.stat() if sends_packed else stat_result
        response.headers["etag"] = f'"{sent.name}"' if hashed else _tag(sent, stat.st_mtime_ns, stat.st_size)
        # Only the tag decides. Starlette would go by the file's time where a browser sends no tag.
        if "if-none-match" in asked and self.is_not_modified(response.headers, asked):
            return NotModifiedResponse(response.headers)
        return response


def _takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` names gzip, and not to refuse it."""
    codings = (part.replace(" ", "").lower().partition(";q=") for part in accepted.split(","))
    return any(name == "gzip" and not re.fullmatch(r"0(\.0*)?", quality) for name, _, quality in codings)


@lru_cache(maxsize=64)
def _tag(path: Path, mtime_ns: int, size: int) -> str:
    """The entity tag of what the file holds; read again when its time or size changed."""
    return f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'
