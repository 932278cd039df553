"""What each refusal says, to the letter, on both sides of a replica's boundary."""

import pickle

import pytest

from deployments.stream import errors
from deployments.stream.errors import FrameError, StreamError

SENTENCES: dict[StreamError, str] = {
    errors.FrameEmpty(): "The frame is empty: expected the bytes of a JPEG, PNG or WebP image.",
    errors.FrameTooLarge(9, 8): "The frame has 9 bytes; the limit is 8: send a smaller picture or compress it more.",
    errors.WrongViewCount(got=3, limit=2): "The frame has 3 views: expected 1 to 2.",
    errors.UnsupportedImage("a GIF"): "The frame is a GIF: expected a JPEG, PNG or WebP image.",
    errors.UnsupportedColor("CMYK"): "The picture is CMYK: expected RGB, RGBA or grey with 8 bits a channel.",
    errors.ImageSizeRefused(4, 8, "16 or more"): "The picture is 4×8 pixels: expected 16 or more.",
    errors.TooManyPixels(25_340_000, 12_500_000): "The views have 25.3 megapixels together: expected at most 12.5.",
    errors.ImageBroken("it ends early"): "The picture can't be decoded (it ends early): expected one complete image file.",
    errors.CamerasRefused("there are 2"): "The frame's cameras can't be used: there are 2.",
    errors.DepthRefused("depth 1 is empty"): "The frame's depth can't be used: depth 1 is empty.",
    errors.InferenceFailed("no depth"): "The model could not process this frame: no depth.",
    errors.NoDepth(): "The model predicts Gaussians, which the codec 'depth' can't carry: ask for 'auto', or for another codec.",
    errors.NoNativeGaussians(): (
        "The codec 'planes' carries Gaussians that a model predicts for each pixel, which this frame has not, or too many of: "
        "ask for 'auto', or for another codec."
    ),
    errors.GraphFailed(): "The server lost this frame (a replica failed or was replaced); the next frames are not affected.",
    errors.BadMessage("it says {seq}"): "Message not understood: it says {seq}.",
    errors.RoomNameRefused(): (
        "The room is neither a name (1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit) nor a whole key: "
        "copy the whole link once more."
    ),
    errors.RoomForbidden("send pictures to it", "viewer"): (
        "You may not send pictures to it: your link gives the right of 'viewer' only. Ask whoever sent it for another one."
    ),
    errors.RoomFull(500, "viewers"): "This room is at its limit of 500 viewers: try again when somebody has left.",
    errors.RoomLocked(): "Whoever opened this room lets no new viewers in for now: ask them, and try again.",
    errors.RoomClosed(): "The room was closed by whoever opened it.",
    errors.RoomTaken(): "You are in this room from another window now.",
    errors.ProtocolMismatch(2, 1): "The client speaks protocol 2; this server speaks 1: update the server.",
    errors.ProtocolMismatch(None, 1): "'hello': the key 'protocol' is missing: this server speaks 1.",
    errors.ProtocolMismatch(0, 1): "The client speaks protocol 0; this server speaks 1: update the client.",
    errors.ProtocolMismatch("2" * 30, 1): (
        "The client speaks protocol '2222222222222222222; this server speaks 1: update the client."
    ),
    errors.TooManyBadMessages(64): "Closed after 64 messages in a row that were not understood: see docs/protocol.md.",
    errors.Flooded(1240.0, 134_217_728.0): (
        "Closed: expected at most 1240 messages and 134 MB a second, got more for too long. Send less, and acknowledge replies."
    ),
    errors.NotReady(): "The server is not ready: the model is loading or was just lost. Try again in a moment.",
    errors.ServerFull(8): "This server is at its limit of 8 sessions: try again in a moment.",
    errors.ServerFull(8, what="uploads"): "This server is at its limit of 8 uploads: try again in a moment.",
    errors.TooManyFromAddress(2): "Your address is at its limit of 2 sessions: close one, or try again in a moment.",
    errors.Unauthorized(): (
        "This server needs an access token: open the page with #token= and the token after its address; "
        "programs send it as 'Authorization: Bearer'."
    ),
    errors.ForbiddenOrigin("https://é.example/" + "x" * 99): (
        f"Pages from 'https://\\xe9.example/{'x' * 58} may not use this server. Its site is not in access.origins; behind a proxy, "
        "pass the Host header on as the browser sent it."
    ),
    errors.ForbiddenOrigin("https://cam.example"): (
        "Pages from 'https://cam.example' may not use this server. Whoever runs it lets them: ORIGINS=https://cam.example make "
        "run, or, if it is the server's own name in a tunnel, HOSTS=cam.example make run. Behind a proxy, pass the Host header "
        "on as the browser sent it."
    ),
    errors.ForbiddenHost("evil.example:80"): (
        "This server does not answer to the name 'evil.example:80'. Whoever runs it lets it: HOSTS=evil.example make run, or the "
        "name in access.hosts."
    ),
    errors.ForbiddenHost("a; b"): (
        "This server does not answer to the name 'a; b'. Whoever runs it lets it: with a name in access.hosts."
    ),
    errors.SessionIdle(60.0): "Closed: nothing came for 60 s. Send frames, or pings to stay connected.",
    errors.InternalError(): "The server had an unexpected error in this session; its log has the details, under the session's id.",
    errors.NoCommonCodec(("mp4",), ("packed", "points")): (
        "No codec in common: the client decodes mp4; this server offers packed, points."
    ),
    errors.NoCommonCodec((), ("packed",)): "No codec in common: the client decodes none; this server offers packed.",
}


@pytest.mark.parametrize("error", SENTENCES, ids=lambda error: type(error).__name__)
def test_a_refusal_says_its_sentence_here_and_beyond_a_replica(error: StreamError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(error) == str(again) == SENTENCES[error]
    assert type(again) is type(error) and vars(again) == vars(error)


def test_every_refusal_is_covered_above() -> None:
    classes = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, StreamError)}
    assert {type(error) for error in SENTENCES} == classes - {StreamError, FrameError}
