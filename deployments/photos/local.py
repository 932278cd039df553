"""Files by an engine in this process: the stages of the graph, without Ray."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.models import fetch_engine, load_model
from deployments.models.errors import ModelUnavailable
from deployments.photos.errors import CommandError, PhotoFailed
from deployments.photos.work import Maker, Track
from deployments.stages.decode import PhotoLimits
from deployments.stages.local import LocalPipeline
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.photo_options import origin_comments, photo_options

LIMITS = OptionLimits(max_splats=2**31 - 1, max_inference_px=8192)
"""Nobody else's machine is at stake."""


class LocalMaker(Maker):
    """Makes files with one model; may be called from several threads."""

    max_bytes = PhotoLimits().max_frame_bytes

    def __init__(self, engine: str, params: Mapping[str, Any], wishes: Mapping[str, str]) -> None:
        """Load the model.

        Args:
            engine: Key of :data:`~deployments.models.ENGINES`.
            params: The engine's own.
            wishes: As of ``/api/splat``.

        Raises:
            CommandError: A wish or the engine is refused, or can't be had; the sentence says what to do.
        """
        try:
            options, file = photo_options(wishes, FrameOptions(), LIMITS)  # Before the wait for the model.
            fetch_engine(engine, dict(params))
            model = load_model(engine, **params)
        except (ValueError, ModelUnavailable) as error:
            raise CommandError(str(error)) from None
        self.engine = model.info
        self.made_with = {"engine": engine, "params": {key: str(value) for key, value in sorted(params.items())}}
        self._options, self._file = options, replace(file, comments=origin_comments(model.info))
        self._pipeline = LocalPipeline(model)
        self._pipeline.warm_up()

    def make(self, picture: bytes, track: Track) -> bytes:
        """The file of a picture; a video's frames must come one after the other.

        Raises:
            PhotoFailed: There is none.
        """
        request = FrameRequest(self._options, state=track.state, file=self._file)
        try:
            outcome = self._pipeline.run(Capture((picture,), request))
        except Exception as error:  # A defect, or no memory left: it costs this photo, and the others go on.
            raise PhotoFailed(f"{self.engine.name} failed: {type(error).__name__}: {error}"[:300]) from error
        if isinstance(outcome, FrameError):
            raise PhotoFailed(str(outcome))
        track.state = outcome.request.state
        return outcome.data.tobytes()
