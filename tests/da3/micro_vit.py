"""A transformer of Depth Anything 3 small enough for tests: the package's own blocks, four of them, 48 wide."""

import os
from pathlib import Path
from typing import Any

from depth_anything_3.model.dinov2.layers import Block
from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
from torch import nn

BATCH_LOG = "SPLATCAST_TEST_BATCHES"
"""Names a folder in which each process notes the sessions and views of its batches."""


class MicroDinoV2(nn.Module):
    """Stands where the package's ``DinoV2`` stands, which knows four sizes only."""

    def __init__(self, out_layers: list[int], alt_start: int = -1, rope_start: int = -1, cat_token: bool = True) -> None:
        super().__init__()
        self.out_layers = out_layers
        self.pretrained = DinoVisionTransformer(
            img_size=518, patch_size=14, embed_dim=48, depth=4, num_heads=3, mlp_ratio=4, block_fn=Block,
            alt_start=alt_start, qknorm_start=alt_start, rope_start=rope_start, cat_token=cat_token,
        )  # fmt: skip

    def forward(self, x: Any, **kwargs: Any) -> Any:
        if folder := os.environ.get(BATCH_LOG):
            # A replica is a process of its own: this is how a test sees what reached its network.
            with Path(folder, str(os.getpid())).open("a") as log:
                log.write(f"{x.shape[0]} {x.shape[1]}\n")
        return self.pretrained.get_intermediate_layers(x, self.out_layers, **kwargs)
