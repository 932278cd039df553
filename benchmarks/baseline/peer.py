"""The original single-process design, to be measured against: ``python -m benchmarks.baseline.peer PORT SPLATS LATENCY_MS``.

One FastAPI process under uvicorn with its default WebSocket settings, so it compresses for every client that offers it, as browsers
do. A bare JPEG comes in, a thread decodes it, runs the engine (one frame at a time: there is one GPU) and writes the standard PLY,
row by row through tuples, the way plyfile's documentation builds an element; the reply is the msgpack map of the original protocol.
Nothing in it is slower than that design has to be: OpenCV decodes, arrays stay float32, the engine is Splatcast's own.
"""

import asyncio
import io
import sys
import threading
import time
from typing import Any

import cv2
import msgpack
import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from plyfile import PlyData, PlyElement

from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.gaussians import Gaussians
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions

_COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity")
_COLUMNS += ("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")


def create_peer(splats: int, latency_ms: float) -> FastAPI:
    """The application.

    Args:
        splats: Gaussians in a frame.
        latency_ms: How long the engine takes.
    """
    app = FastAPI()
    model = SyntheticModel(splats=splats, latency_ms=latency_ms)
    model.warm_up()
    gpu = threading.Lock()

    def process(jpeg: bytes) -> dict[str, Any]:
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        capture = DecodedCapture((cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB),), FrameRequest(FrameOptions(max_splats=splats)))
        with gpu:
            (prediction,) = model.predict([capture])
        assert isinstance(prediction, Prediction)
        return {"type": "gaussian_ply", "timestamp": time.time(), "ply_data": write_ply(prediction.as_gaussians())}

    @app.websocket("/ws")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                jpeg = await websocket.receive_bytes()
                await websocket.send_bytes(msgpack.packb(await asyncio.to_thread(process, jpeg)))
        except WebSocketDisconnect:
            pass

    return app


def write_ply(gaussians: Gaussians) -> bytes:
    """The standard 3DGS PLY with the reference trainer's 17 columns (zero normals), a tuple for every row."""
    opacities = np.clip(gaussians.opacities, 1e-6, 1.0 - 1e-6)
    columns = (
        gaussians.means,
        np.zeros_like(gaussians.means),
        gaussians.sh[:, 0],
        np.log(opacities / (1.0 - opacities))[:, None],
        np.log(gaussians.scales),
        gaussians.quats,
    )
    table = np.concatenate(columns, axis=1)
    rows = np.empty(len(table), dtype=[(name, "f4") for name in _COLUMNS])
    rows[:] = list(map(tuple, table))
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(rows, "vertex")]).write(buffer)
    return buffer.getvalue()


def main(port: str, splats: str, latency_ms: str) -> None:
    """Serve on loopback until ended."""
    uvicorn.run(create_peer(int(splats), float(latency_ms)), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
