"""Activation checkpointing of a module: values inside of segments are computed again when due."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from cnnzoo.torch._extension import Segments

if TYPE_CHECKING:
    from cnnzoo import _torch


def run_in_segments(
    engine: _torch.Model,
    x: torch.Tensor,
    *,
    generation: int,
    nodes: list[str] | None,
    auxiliary: bool,
    training: list[int],
    seed: int,
) -> list[torch.Tensor]:
    """Run a network as `forward` of the extension does, and keep only what crosses the segments.

    The last segment is recorded as usual, since its gradients are due first.
    """
    segments = Segments(engine, x, generation, nodes, auxiliary, training, seed)
    values = {segments.image: x}
    borders = segments.borders
    for place, (reads, gives) in enumerate(borders):
        run = _runs(segments, engine, place)
        given = [values[name] for name in reads]
        if place == len(borders) - 1:
            found = run(*given)
        else:
            # The end of a segment runs again too: a run in Rust is not left in its middle.
            with set_checkpoint_early_stop(False):
                found = checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False)
        values.update(zip(gives, found, strict=True))
    return [values[name] for name in segments.wanted]


def _runs(
    segments: Segments, engine: _torch.Model, place: int
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The runs of a segment: in all but the first, norms do not update their statistics."""
    again = False

    def run(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal again
        found = segments.run(engine, place, list(given), again)
        again = True
        return tuple(found)

    return run
