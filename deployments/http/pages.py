"""The viewer: its pages, and the files that they load."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

STATIC_FOLDER = Path(__file__).parent / "static"


def page(folder: Path, name: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler for one of the viewer's pages."""

    async def serve_page(request: Request) -> Response:
        path = folder / name
        if not path.is_file():
            text = f"The viewer has not been built: {name} is missing. Run 'make web' (or 'pip install .') and start again.\n"
            return PlainTextResponse(text, 503)
        return FileResponse(path, headers={"cache-control": "no-cache"})

    return serve_page
