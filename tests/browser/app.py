"""The real server in one process, without Ray: ``python -m tests.browser.app PORT``, with faults to order."""

import argparse
import asyncio
import dataclasses
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from msgspec import structs

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.models.base import SplatModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.errors import BadMessage, FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Quality, Setting
from deployments.stream.session import Session

SETTLED = 40
"""Frames after which the relief no longer changes with a picture that does not: a person fades in over some of them."""


class Still:
    """A model that makes of every frame what it made of the first: what is shown then differs by nothing but the codec."""

    def __init__(self, model: SplatModel) -> None:
        self._model = model
        self._predictions: dict[str, Prediction | FrameError] = {}
        self._lock = threading.Lock()

    @property
    def info(self) -> messages.Engine:
        return self._model.info

    def warm_up(self) -> None:
        self._model.warm_up()

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        with self._lock:
            return [self._predict_one(capture) for capture in captures]

    def _predict_one(self, capture: DecodedCapture) -> Prediction | FrameError:
        kind = capture.request.options.representation
        for _ in range(0 if kind in self._predictions else SETTLED):
            (prediction,) = self._model.predict([capture])
            assert isinstance(prediction, Prediction)
            capture.request.state = prediction.state
            self._predictions[kind] = prediction
        return self._predictions[kind]


class Pipeline(LocalPipeline):
    """The local pipeline with a licence note and, if asked, options of its own or every second frame cut short."""

    licence_note = ""
    corrupt = False
    forced: dict[str, str]
    _frames = 0

    async def describe(self) -> messages.Engine:
        return dataclasses.replace(await super().describe(), licence_note=self.licence_note)

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        capture.request.options = dataclasses.replace(capture.request.options, **self.forced)  # type: ignore[arg-type]
        outcome = await super().__call__(capture)
        self._frames += 1
        if self.corrupt and isinstance(outcome, PackedFrame) and self._frames % 2 == 0:
            return dataclasses.replace(outcome, data=outcome.data[:-3])
        return outcome


def _refuse_hello(session: Session, hello: messages.Hello, now_s: float) -> None:
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
    parser.add_argument("--native", action="store_true", help="native Gaussians, of the synthetic engine")
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--corrupt", action="store_true")
    parser.add_argument("--licence-note", default="")
    parser.add_argument("--max-sessions", type=int, default=16)
    parser.add_argument("--protocol", type=int, default=messages.PROTOCOL)
    parser.add_argument("--no-welcome", action="store_true")
    parser.add_argument("--embed", action="append", default=[], help="a site whose pages may frame the viewer")
    parser.add_argument("--hosts", default="*", help="names that it answers to, with commas")
    parser.add_argument("--token", default=None)
    parser.add_argument("--acks", type=Path, default=None, help="where to write every ack, a JSON line each")
    parser.add_argument("--still", action="store_true", help="every frame is the first one")
    parser.add_argument("--codec", help="whatever the client asks for")
    parser.add_argument("--colors", choices=("own", "jpeg"), help="of depth, whatever the client asks for")
    parser.add_argument("--lowered", action="store_true", help="400 splats, 320 of 504 px, for streams that adapt")
    options = parser.parse_args()
    if options.acks:
        _write_acks(options.acks)
    if options.lowered:
        Quality.setting = _lower  # type: ignore[method-assign]
    if options.no_welcome:
        Session._on_hello = _refuse_hello  # type: ignore[method-assign]
    messages.PROTOCOL = options.protocol
    params = {"splats": 3072, "fail_every": options.fail_every, "native": options.native} if options.engine == "synthetic" else {}
    hosts = "*" if options.hosts == "*" else [name for name in options.hosts.split(",") if name]
    args = GraphArgs.model_validate({"max_sessions": options.max_sessions, "access": {"embed": options.embed, "hosts": hosts}})
    model = load_model(options.engine, **params)
    pipeline = Pipeline(Still(model) if options.still else model, args.frames, args.pack)
    pipeline.licence_note, pipeline.corrupt = options.licence_note, options.corrupt
    pipeline.forced = {name: value for name in ("codec", "colors") if (value := getattr(options, name))}
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
