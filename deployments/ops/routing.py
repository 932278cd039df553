"""Which replica a frame goes to: the one with the fewest frames."""

import random

from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica

MAX_ASKED = 8
"""Replicas compared for a frame. Of many more, eight at random have one that is idle, if a tenth of them are, in more than half of
all cases; and a router asks each replica for its queue's length only where it does not know it."""


class ShortestQueue(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Serve's own router compares two replicas at random: with four of which one is idle, every second frame goes to a busy one.

    A request here is a frame and takes as long as any other, a tenth of a second perhaps, so to wait behind one costs a frame's
    age what nothing else wins back. For ``request_router_config`` in a serve config.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Up to ``MAX_ASKED`` replicas, in random order: of equals the router takes the first."""
        return [random.sample(candidate_replicas, min(len(candidate_replicas), MAX_ASKED))]
