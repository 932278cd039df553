"""The original single-process design, as the peer to be measured against: ``python -m benchmarks.baseline.peer --port 8001``.

One FastAPI process under uvicorn with its default WebSocket settings, so it compresses for every client that offers it, as browsers
do. A bare JPEG comes in, a thread decodes it, runs the engine (one frame at a time: there is one GPU) and writes the standard PLY,
row by row through tuples, as plyfile's documentation builds an element; the reply is the msgpack map of the original protocol.
Nothing in it is slower than that design is: OpenCV decodes, arrays stay float32, the engine is Splatcast's own.
"""

import argparse
import asyncio
import io
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
        splats: Gaussians of a frame.
        latency_ms: What the engine takes.
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
        return {"type": "gaussian_ply", "timestamp": time.time(), "ply_data": write_ply(prediction.gaussians)}

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
    """The standard 3DGS PLY with the reference trainer's 17 columns (normals zero), a tuple for every row."""
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


def main() -> None:
    """Serve on loopback until ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baseline.peer", description="The single-process peer.")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--splats", type=int, default=100_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    options = parser.parse_args()
    app = create_peer(options.splats, options.latency_ms)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
