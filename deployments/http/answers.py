"""An error as an HTTP answer: JSON ``{code, message}``, and one table error → status."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from deployments.stream.errors import (
    ForbiddenHost,
    ForbiddenOrigin,
    FrameEmpty,
    FrameTooLarge,
    GraphFailed,
    InferenceFailed,
    NotReady,
    ServerFull,
    StreamError,
    TooManyFromAddress,
    Unauthorized,
    UnsupportedImage,
)

_STATUS = {
    FrameEmpty: 400,
    FrameTooLarge: 413,
    UnsupportedImage: 415,
    InferenceFailed: 500,
    GraphFailed: 503,
    NotReady: 503,
    ServerFull: 503,
    TooManyFromAddress: 429,
    Unauthorized: 401,
    ForbiddenOrigin: 403,
    ForbiddenHost: 403,
}
"""422, a picture that is understood and of no use, for what is not named here."""
NOT_KEPT = {"cache-control": "no-store"}
"""Of an answer that may be another one in a moment: browsers may keep even a 404, of a file that a rollout is about to bring."""
_HEADERS = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}, 503: {"retry-after": "1"}}


def refusal(code: str, message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a given code and status."""
    return JSONResponse({"code": code, "message": message}, status, {**NOT_KEPT, **(headers or {})})


def refusal_of(error: StreamError) -> Response:
    """The answer that says what the error says."""
    status = _STATUS.get(type(error), 422)
    return refusal(error.code, str(error), status, _HEADERS.get(status))
