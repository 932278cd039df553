"""For people whose program sends something else than a picture, or otherwise than it is taken: the command that does it right."""

import re
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deployments.stream.errors import FrameError, ImageBroken, UnsupportedImage

PATH = "/api/splat"
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\r\n]{64,}")
_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,240}\.(jpe?g|jfif|png|webp|heic|heif|hif|avif|gif|bmp|tiff?)", re.IGNORECASE)
_LONGEST_NAME = 1024
"""Bytes of a body that may be a file's name: 240 characters, with a line feed behind them."""


def how_to_send(error: FrameError, body: bytes, request: Request) -> str:
    """What went wrong with a picture on its way, and the command with which it does not. Empty if it is not that."""
    command = curl(request)
    if isinstance(error, UnsupportedImage):
        if body.startswith(b"data:"):
            return f"The body is a data URL, which is text: decode it, or send the file: {command}"
        if _BASE64.fullmatch(body[:4096]):
            return f"The body looks like base64, which is text: decode it, or send the file: {command}"
        if len(body) <= _LONGEST_NAME and (name := _file_name(body.decode("utf-8", "replace"))):
            return f"The body is the text {name!r:.80}, not the file: curl needs an @ before a file's name: {command}"
    as_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if isinstance(error, ImageBroken) and as_form and len(body) > 1000 and not re.search(rb"[\r\n]", body):
        return f"The picture has no line feed in it, as if it were sent with curl's -d, which removes them: {command}"
    return ""


def forgotten_at(fields: Mapping[str, str]) -> str:
    """What to write instead, if a form without a file has a file's name in one of its texts; else empty."""
    for field, text in fields.items():
        if name := _file_name(text):
            return f"{field!r:.60} is the text {name!r:.80}: curl needs an @ before a file's name, as in -F file=@photo.jpg"
    return ""


async def wrong_way(request: Request) -> Response:
    """Refuse what is no POST, or has something behind the path: ``curl -T`` sends a PUT, and adds the file's name."""
    status, headers = (404, None) if PATH + "/" in request.url.path else (405, {"allow": "POST"})
    what = f"expected POST at {PATH}, without anything behind it"
    raise HTTPException(status, f"{what}, got {request.method} at {request.url.path!r:.80}: {curl(request)}", headers)


def curl(request: Request) -> str:
    """The command that sends a photo to where the request went."""
    before, found, _ = request.url.path.partition(PATH)
    path = before + PATH if found else request.url.path
    return f"curl --data-binary @photo.jpg '{request.url.scheme}://{request.url.netloc}{path}' --fail-with-body -OJ"


def _file_name(text: str) -> str:
    text = text.strip()
    return text if _FILE_NAME.fullmatch(text) else ""
