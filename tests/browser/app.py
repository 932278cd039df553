"""The real server in one process, without Ray: ``python -m tests.browser.app PORT``, with faults to order."""

import argparse
import asyncio
import dataclasses
import json
from pathlib import Path

import uvicorn
from msgspec import structs

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.errors import BadMessage, FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Quality, Setting
from deployments.stream.session import Session


class Pipeline(LocalPipeline):
    """The local pipeline with a licence note and, if asked, every second frame cut short."""

    licence_note = ""
    corrupt = False
    _frames = 0

    async def describe(self) -> messages.Engine:
        return dataclasses.replace(await super().describe(), licence_note=self.licence_note)

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        outcome = await super().__call__(capture)
        self._frames += 1
        if self.corrupt and isinstance(outcome, PackedFrame) and self._frames % 2 == 0:
            return dataclasses.replace(outcome, data=outcome.data[:-3])
        return outcome


def _refuse_hello(session: Session, hello: messages.Hello) -> None:
    raise BadMessage("no hello is welcome here")


def _lower(quality: Quality, wanted: FrameOptions) -> Setting:
    if not wanted.adapt:
        return Setting(wanted, wanted, 0, 0, wanted.max_splats, 0, None)
    return Setting(dataclasses.replace(wanted, max_splats=400, inference_px=320), wanted, 570, 504, 400, 0, "network")


def _write_acks(path: Path) -> None:
    on_ack = Session._on_ack

    def write(session: Session, ack: messages.Ack, now_s: float) -> None:
        with path.open("a") as file:
            file.write(json.dumps(structs.asdict(ack)) + "\n")
        on_ack(session, ack, now_s)

    Session._on_ack = write  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--engine", default="synthetic")
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--corrupt", action="store_true")
    parser.add_argument("--licence-note", default="")
    parser.add_argument("--max-sessions", type=int, default=16)
    parser.add_argument("--protocol", type=int, default=messages.PROTOCOL)
    parser.add_argument("--no-welcome", action="store_true")
    parser.add_argument("--token", default=None)
    parser.add_argument("--acks", type=Path, default=None, help="where to write every ack, a JSON line each")
    parser.add_argument("--lowered", action="store_true", help="400 splats, 320 of 504 px, for streams that adapt")
    options = parser.parse_args()
    if options.acks:
        _write_acks(options.acks)
    if options.lowered:
        Quality.setting = _lower  # type: ignore[method-assign]
    if options.no_welcome:
        Session._on_hello = _refuse_hello  # type: ignore[method-assign]
    messages.PROTOCOL = options.protocol
    params = {"splats": 3072, "fail_every": options.fail_every} if options.engine == "synthetic" else {}
    args = GraphArgs(max_sessions=options.max_sessions)
    pipeline = Pipeline(load_model(options.engine, **params), args.frames, args.pack)
    pipeline.licence_note, pipeline.corrupt = options.licence_note, options.corrupt
    pipeline.warm_up()
    config = uvicorn.Config(
        create_app(pipeline, args, token=options.token),
        port=options.port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )
    asyncio.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
