"""The Python client against the real ASGI app, over a real socket."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.server import ServerConnection, serve

from deployments.client import ClientError, Stream, connect, encode_depth_png, reconnecting, socket_url, splats_of
from deployments.config import GraphArgs
from deployments.models.synthetic import SyntheticModel
from deployments.scene.clip import render_scene
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Ack, Dropped, Error, KnownCamera, QualityState, Splats
from deployments.stream.options import FrameOptions
from tests.pictures import jpeg
from tests.server import free_port
from tests.stub_server import BROKEN, OVERLOAD, REPLY_BYTES, StubPipeline, stub_server


@pytest.fixture
async def pipeline() -> StubPipeline:
    return StubPipeline()


@pytest.fixture
async def url(pipeline: StubPipeline) -> AsyncIterator[str]:
    async with stub_server(pipeline) as url:
        yield url


async def replies(stream: Stream, count: int) -> list[Splats | Dropped | Error]:
    got = []

    async def collect() -> None:
        async for reply in stream:
            got.append(reply)
            if len(got) == count:
                return

    await asyncio.wait_for(collect(), 10)
    return got


async def test_a_frame_comes_back_as_splats_with_what_it_went_in_with(url: str, pipeline: StubPipeline) -> None:
    async with connect(url, options={"max_splats": 1234}, client="test/1") as stream:
        assert stream.welcome.engine.label == "A stub" and stream.options["max_splats"] == 1234
        assert stream.extensions == []
        seq = await stream.send_frame(jpeg(), captured_ms=1234.5)
        (reply,) = await replies(stream, 1)
    assert isinstance(reply, Splats)
    assert (reply.seq, reply.captured_ms, reply.codec, reply.count, len(reply.data)) == (
        seq,
        1234.5,
        "packed",
        250,
        REPLY_BYTES,
    )
    assert reply.timings_ms["infer"] == 2.0
    assert pipeline.captures[0].request.options.max_splats == 1234


async def test_replies_are_acknowledged_so_that_more_than_the_window_come(url: str) -> None:
    async with connect(url) as stream:
        count = 3 * stream.welcome.limits.max_unacked
        for _ in range(count):
            await stream.send_frame(jpeg())
            (reply,) = await replies(stream, 1)
            assert isinstance(reply, Splats)
        assert stream.bytes_received > count * REPLY_BYTES
        assert stream.bytes_sent > count * len(jpeg())


async def test_an_ack_reports_the_age_on_the_clock_of_the_stream(pipeline: StubPipeline) -> None:
    now_s = 100.0
    async with stub_server(pipeline) as url, connect(url, clock_s=lambda: now_s) as stream:
        await stream.send_frame(jpeg())
        (reply,) = await replies(stream, 1)
    assert isinstance(reply, Splats) and reply.captured_ms == 100_000.0


async def test_a_program_with_a_screen_acknowledges_by_itself(url: str) -> None:
    async with connect(url, acknowledges=False, options={"adapt": False}) as stream:
        await stream.ping()
        limit = stream.welcome.limits.max_unacked
        for _ in range(limit):
            await stream.send_frame(jpeg())
            (reply,) = await replies(stream, 1)
        await stream.send_frame(jpeg())
        with pytest.raises(asyncio.TimeoutError):  # The server waits for an ack.
            await asyncio.wait_for(replies(stream, 1), 0.2)
        assert isinstance(reply, Splats)
        await stream.acknowledge(Ack(reply.seq, 1.0, 2.0, 3.0, 4.0))
        (reply,) = await replies(stream, 1)
        assert isinstance(reply, Splats) and reply.seq == limit


async def test_several_views_are_one_frame(url: str, pipeline: StubPipeline) -> None:
    async with connect(url) as stream:
        await stream.send_frame([jpeg(), jpeg(80, 60)])
        await replies(stream, 1)
    assert [len(capture.views) for capture in pipeline.captures] == [2]


async def test_cameras_and_depths_travel_with_their_views(url: str, pipeline: StubPipeline) -> None:
    camera = KnownCamera(60.0, 61.0, 32.0, 24.0, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    depth = np.full((48, 64), 2500, np.uint16)
    async with connect(url) as stream:
        await stream.send_frame(jpeg(), cameras=[camera], depths=[depth], depth_unit_m=0.0005)
        await stream.send_frame(jpeg(), cameras=[camera], depths=[b"as it is"])
        await replies(stream, 2)
    first, second = pipeline.captures
    assert first.cameras == second.cameras == (camera,) and first.depth_unit_m == 0.0005
    assert first.depths == (encode_depth_png(depth),) and second.depths == (b"as it is",)


def test_colours_of_several_views_are_each_views_own() -> None:
    pictures = [np.full((48, 64, 3), shade, np.uint8) for shade in (40, 200)]
    cameras = tuple(KnownCamera(60.0, 60.0, 32.0, 24.0, np.eye(3, 4).ravel().tolist()) for _ in pictures)
    request = FrameRequest(FrameOptions(colors="own"), ("depth",))
    depths = (encode_depth_png(np.full((48, 64), 2000, np.uint16)),) * 2
    packed = LocalPipeline(SyntheticModel()).run(Capture((jpeg(), jpeg()), request, cameras, depths))
    assert isinstance(packed, PackedFrame)
    quality = QualityState(0, 0, 1.0, 1.0, "", "")
    reply = Splats(0, 0.0, packed.codec, packed.kind, "", packed.count, packed.camera, {}, {}, {}, quality, packed.data.tobytes())
    shown = splats_of(reply, pictures).sh[:, 0, 0]
    # The frame's border is cut from each view.
    assert len(np.unique(shown)) == 2 and (shown < 0).sum() == (shown > 0).sum() > 0
    with pytest.raises(ValueError, match="picture"):
        splats_of(reply, pictures[:1])


async def test_a_refused_frame_is_an_error_among_the_replies_and_the_next_one_works(url: str) -> None:
    async with connect(url) as stream:
        first = await stream.send_frame(BROKEN)
        (error,) = await replies(stream, 1)
        await stream.send_frame(jpeg())
        (reply,) = await replies(stream, 1)
    assert isinstance(error, Error) and (error.code, error.seq) == ("image_broken", first)
    assert isinstance(reply, Splats)


async def test_drops_are_told_with_their_numbers(url: str, pipeline: StubPipeline) -> None:
    async with connect(url) as stream:
        seq = await stream.send_frame(OVERLOAD)
        (dropped,) = await replies(stream, 1)
    assert isinstance(dropped, Dropped) and (dropped.code, dropped.seqs) == ("overloaded", [seq])


async def test_options_change_live_and_a_wrong_one_is_an_error(url: str) -> None:
    async with connect(url) as stream:
        await stream.configure(max_splats=77)
        await stream.configure(colour="red")
        (error,) = await replies(stream, 1)
    assert stream.options["max_splats"] == 77
    assert isinstance(error, Error) and error.code == "bad_message" and "colour" in error.message


async def test_a_wrong_option_in_the_hello_is_said_at_once(url: str) -> None:
    with pytest.raises(ClientError, match=r"max_splats.*expected a whole number") as caught:
        async with connect(url, options={"max_splats": -1}):
            raise AssertionError("never opened")
    assert caught.value.code == "bad_message"


async def test_no_common_codec_is_said_with_the_servers_code(url: str) -> None:
    with pytest.raises(ClientError, match="teapot") as caught:
        async with connect(url, codecs=["teapot"]):
            raise AssertionError("never opened")
    assert caught.value.code == "no_common_codec"


async def test_a_full_server_says_so(pipeline: StubPipeline) -> None:
    async with stub_server(pipeline, GraphArgs(max_sessions=1)) as url, connect(url):
        with pytest.raises(ClientError, match="limit of 1 session") as caught:
            async with connect(url):
                raise AssertionError("never opened")
    assert caught.value.code == "server_full"


async def test_nobody_there_is_said_with_the_address() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with pytest.raises(ClientError, match=f"Can't open {url}") as caught:
        async with connect(url):
            raise AssertionError("never opened")
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("ws://127.0.0.1:8000/ws", "ws://127.0.0.1:8000/ws"),
        ("http://127.0.0.1:8000/", "ws://127.0.0.1:8000/ws"),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws"),
        ("https://cam.example/behind/a/proxy/?room=studio#key=k", "wss://cam.example/behind/a/proxy/ws"),
        ("https://cam.example/ws", "wss://cam.example/ws"),
    ],
)
def test_the_address_of_a_page_leads_to_its_stream(given: str, asked: str) -> None:
    assert socket_url(given) == asked


async def test_a_pages_address_is_as_good_as_the_streams(url: str) -> None:
    async with connect(url.replace("ws://", "http://").removesuffix("ws")) as stream:
        assert stream.welcome.protocol == 1


async def test_a_wrong_path_and_a_wrong_address_are_unreachable_too(url: str) -> None:
    for wrong in (url + "/nothing", "ftp://127.0.0.1/ws"):
        with pytest.raises(ClientError) as caught:
            async with connect(wrong):
                raise AssertionError("never opened")
        assert caught.value.code == "unreachable"


async def test_a_server_that_never_welcomes_is_given_up() -> None:
    async with serve(lambda websocket: websocket.wait_closed(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ClientError, match=r"No 'welcome' .* within 0.05 s") as caught:
            async with connect(f"ws://127.0.0.1:{port}/ws", open_timeout_s=0.05):
                raise AssertionError("never opened")
    assert caught.value.code == "no_welcome"


async def test_a_server_that_speaks_something_else_is_said() -> None:
    async with serve(lambda websocket: websocket.send("good day"), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ClientError, match=r"From the server: .*expected a msgpack map") as caught:
            async with connect(f"ws://127.0.0.1:{port}/ws"):
                raise AssertionError("never opened")
    assert caught.value.code == "bad_message"


async def test_a_server_that_goes_away_ends_the_iteration_with_words(pipeline: StubPipeline) -> None:
    async with stub_server(pipeline) as url, connect(url) as stream:
        stream._websocket.transport.abort()
        with pytest.raises(ClientError, match="without a close frame") as caught:
            await replies(stream, 1)
    assert caught.value.code == "closed"


async def test_deflate_is_only_used_where_both_sides_want_it(pipeline: StubPipeline) -> None:
    for server, client, expected in ((False, True, []), (True, False, []), (True, True, ["permessage-deflate"])):
        async with stub_server(pipeline, deflate=server) as url, connect(url, offer_deflate=client) as stream:
            assert stream.extensions == expected


async def test_a_reconnecting_client_opens_a_session_after_each_that_broke(url: str) -> None:
    sessions = []
    async with aclosing(reconnecting(url)) as streams:
        async for stream in streams:
            sessions.append(stream.welcome.session)
            if len(sessions) == 3:
                break
            stream._websocket.transport.abort()
            with pytest.raises(ClientError, match="1006"):
                await replies(stream, 1)
    assert len(set(sessions)) == 3


async def test_a_reconnecting_client_backs_off_from_a_server_that_welcomes_it_and_drops_it(url: str) -> None:
    waits: list[float] = []
    now_s, lives_s = 0.0, iter([0.0, 0.1, 1.0, 0.0, 4.9, 0.0, 0.0, 60.0, 0.0])

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with aclosing(reconnecting(url, clock_s=lambda: now_s, sleep=sleep)) as streams:
        async for stream in streams:
            stream._websocket.transport.abort()
            if len(waits) == 9:
                break
            now_s += next(lives_s)
    # Doubled each time and no longer than two seconds; only a session that lasted starts anew.
    for waited_s, longest_s in zip(waits, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 0.1, 0.2], strict=True):
        assert longest_s / 2 <= waited_s <= longest_s, waits


async def test_a_reconnecting_client_loses_patience_with_a_server_that_is_gone() -> None:
    with pytest.raises(ClientError) as failure:
        async for _ in reconnecting("ws://127.0.0.1:1/ws", patience_s=0.0):
            raise AssertionError("nobody listens there")
    assert failure.value.code == "unreachable"


async def test_a_reconnecting_client_does_not_insist_where_it_is_refused_for_good() -> None:
    async def refuse(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send(messages.encode(messages.Error("protocol_mismatch", "update the client", fatal=True)))

    port = free_port()
    async with serve(refuse, "127.0.0.1", port):
        with pytest.raises(ClientError, match="update the client"):
            async for _ in reconnecting(f"ws://127.0.0.1:{port}/ws"):
                raise AssertionError("refused")


async def test_the_token_opens_a_server_that_has_one_and_its_lack_is_said(pipeline: StubPipeline) -> None:
    async with stub_server(pipeline, token="0123456789abcdef") as url:
        async with connect(url, token="0123456789abcdef") as stream:
            await stream.send_frame(jpeg())
            (reply,) = await replies(stream, 1)
            assert isinstance(reply, Splats)
        for token in (None, "another-token-of-16"):
            with pytest.raises(ClientError) as refused:
                async with connect(url, token=token):
                    pytest.fail("it is open to everybody")
            assert refused.value.code == "unauthorized" and "access token" in str(refused.value)


@pytest.mark.parametrize(("colors", "error"), [("own", 0.02), ("jpeg", 0.07)])
def test_depth_is_lifted_to_what_the_server_would_have_sent(colors: str, error: float) -> None:
    frame = Image.fromarray(render_scene(0.3, 320, 240).rgb)
    file = io.BytesIO()
    frame.save(file, "JPEG", quality=95)
    local = LocalPipeline(SyntheticModel(splats=3000, depth=True))

    def reply(codec: str) -> Splats:
        request = FrameRequest(FrameOptions(codec=codec, colors=colors), ("depth", "packed"))  # type: ignore[arg-type]
        packed = local.run(Capture((file.getvalue(),), request))
        assert isinstance(packed, PackedFrame) and packed.codec == codec
        quality = QualityState(0, 0, 1.0, 1.0, "", "")
        kind, data = packed.kind, packed.data.tobytes()
        return Splats(0, 0.0, codec, kind, "", packed.count, packed.camera, packed.pruned, {}, {}, quality, data)

    lifted, sent = splats_of(reply("depth"), np.asarray(frame)), splats_of(reply("packed"))
    assert len(lifted) == len(sent)
    np.testing.assert_allclose(lifted.means, sent.means, rtol=4e-3, atol=2e-3)
    # Of DC coefficients: 0.07 are five grey levels, which a JPEG of 63×47 pixels costs.
    assert np.abs(lifted.sh - sent.sh).mean() < error


def test_a_reply_without_colours_asks_for_the_picture() -> None:
    data = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(data).save(file, "PNG")
    request = FrameRequest(FrameOptions(colors="own"), ("depth",))
    packed = LocalPipeline(SyntheticModel(splats=300, depth=True)).run(Capture((file.getvalue(),), request))
    assert isinstance(packed, PackedFrame)
    quality = QualityState(0, 0, 1.0, 1.0, "", "")
    reply = Splats(0, 0.0, packed.codec, packed.kind, "", packed.count, packed.camera, {}, {}, {}, quality, packed.data.tobytes())
    with pytest.raises(ValueError, match="picture"):
        splats_of(reply)
