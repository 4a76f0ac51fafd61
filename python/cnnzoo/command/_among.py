"""The place of a run's process among those that torchrun started."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cnnzoo.errors import ArgumentError


@dataclass(frozen=True)
class Among:
    """The processes that train together.

    Attributes:
        rank: The number of this process; None where it trains alone.
        sync_batch_norm: Whether batch norm uses the statistics of the batch of all processes.
    """

    rank: int | None = None
    sync_batch_norm: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank in {None, 0}

    @property
    def is_several(self) -> bool:
        """Whether there are other processes."""
        return self.rank is not None

    def device(self, device: str) -> str:
        """The device of this process: each has a GPU of its own."""
        if self.rank is None or device != "cuda":
            return device
        return f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"


ALONE = Among()


def among(*, sync_batch_norm: bool) -> Among:
    """The place of this process, as torchrun says it in the environment.

    Raises:
        ArgumentError: Batch norm is to be synchronised, and there is one process.
    """
    count = os.environ.get("WORLD_SIZE", "")
    if count.isdecimal() and int(count) > 1 and "RANK" in os.environ:
        return Among(int(os.environ["RANK"]), sync_batch_norm)
    if sync_batch_norm:
        raise ArgumentError(
            "--sync-batch-norm: expected several processes, got one; start them by `torchrun "
            "--nproc-per-node=2 -m cnnzoo train ...`"
        )
    return ALONE
