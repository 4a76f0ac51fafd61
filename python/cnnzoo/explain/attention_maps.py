"""Attention of a vision transformer: the weights of each layer and head, and their rollout."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import whole
from cnnzoo._html import html_picture
from cnnzoo._photo import Photo
from cnnzoo._plots import axes_for, save_figure
from cnnzoo._text import counted
from cnnzoo.errors import ArgumentError, DivergenceError
from cnnzoo.explain._pixels import Bytes, Floats, enlarged, mosaic, overlaid, scaled
from cnnzoo.explain._subject import Subject, subject_of
from cnnzoo.explain.heatmap import Heatmap, show, size_of
from cnnzoo.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "attention maps"
WIDTH = 6.4
# The side of a head's picture in a plot, in pixels.
TILE = 160


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AttentionMaps:
    """The attention weights of a network for one photograph.

    Attributes:
        values: float32 (layers, heads, tokens, tokens): how much each token of the third axis takes
            from each of the fourth. The weights of a token add up to 1.
        layers: The names of the attentions.
        before: Number of tokens that come before those of the patches, such as the class token.
        grid: Rows and columns of patches.
        size: Height and width of the network's input.
        photo: uint8 (S, S, 3): the part of the photograph that the network sees.
        model: The name of the network.
    """

    values: Floats
    layers: tuple[str, ...]
    before: int
    grid: tuple[int, int]
    size: tuple[int, int]
    photo: Bytes
    model: str

    def rollout(self) -> Heatmap:
        """Attention rollout: the share of each patch in the class token, through all layers.

        The mean over the heads of each layer, half of which is the token itself for the shortcut
        around the attention, multiplied from layer to layer (Abnar and Zuidema, arXiv:2005.00928).

        Returns:
            The heatmap, whose `raw` holds the share of each patch in the class token; in the mean
            of all tokens where there is none.
        """
        mixed = np.eye(self.values.shape[-1])
        for weights in self.values.astype(np.float64):
            mixed = (weights.mean(0) @ mixed + mixed) / 2
        return self._heatmap(mixed, "Attention rollout", None)

    def heatmap(self, layer: int = -1, head: int | None = None) -> Heatmap:
        """The attention of the class token to each patch in one layer.

        Args:
            layer: The layer's number; negative ones count from the last.
            head: The head's number; the mean over all heads if not given.

        Returns:
            The heatmap, whose `raw` holds the weight of each patch.

        Raises:
            ArgumentError: There is no such layer or head.
        """
        count, heads = self.values.shape[:2]
        at = _index("`layer`", layer, count)
        weights = self.values[at].astype(np.float64)
        if head is None:
            return self._heatmap(weights.mean(0), "Attention", self.layers[at])
        one = _index("`head`", head, heads)
        return self._heatmap(weights[one], f"Attention of head {one}", self.layers[at])

    def plot(self, *, layer: int = -1, ax: Axes | None = None) -> Axes:
        """Draw the attention of the class token in each head of a layer over the photograph.

        Args:
            layer: The layer's number; negative ones count from the last.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: There is no such layer.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        at = _index("`layer`", layer, len(self.layers))
        pixels = self._heads(at)
        drawn: Axes = axes_for(ax, WHAT, size_of(pixels, WIDTH))
        title = f"Attention of {counted(self.values.shape[1], 'head')}"
        show(drawn, pixels, title, f"{self.layers[at]} · {self.model}")
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` for the last layer to a file.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        size = size_of(self._heads(len(self.layers) - 1), WIDTH)
        save_figure(path, WHAT, size, lambda ax: self.plot(ax=ax))

    def __repr__(self) -> str:
        layers, heads, tokens, _ = self.values.shape
        return f"<AttentionMaps {self.model}: {layers} layers, {heads} heads, {tokens} tokens>"

    def _repr_html_(self) -> str:
        return html_picture(self._heads(len(self.layers) - 1), repr(self))

    def _patches(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The row of the class token, of others like it, or of all tokens, as a grid."""
        rows = weights[: self.before or None].mean(0)
        height, width = self.grid
        patches: NDArray[np.float64] = rows[self.before : self.before + height * width]
        return patches.reshape(self.grid)

    def _heatmap(self, weights: NDArray[np.float64], method: str, node: str | None) -> Heatmap:
        raw = self._patches(weights)
        return Heatmap(
            values=scaled(enlarged(raw, *self.size)),
            raw=raw.astype(np.float32),
            photo=self.photo,
            method=method,
            model=self.model,
            node=node,
        )

    def _heads(self, layer: int) -> Bytes:
        """The pictures of a layer's heads, in one."""
        step = max(1, min(self.photo.shape[:2]) // TILE)
        photo = np.ascontiguousarray(self.photo[::step, ::step])
        tiles = []
        for weights in self.values[layer].astype(np.float64):
            heat = scaled(enlarged(self._patches(weights), *self.size))
            tiles.append(overlaid(photo, heat))
        return mosaic(np.stack(tiles))


def attention(model: Model, image: Photo, *, exact: bool = False) -> AttentionMaps:
    """The attention weights of every layer and head of a vision transformer.

    They are computed from the queries and keys that the network itself computes.

    Args:
        model: A network with attention between tokens, such as ViT and DeiT.
        image: A photograph, as `Model.predict` takes it.
        exact: Run the network on libtorch, as for `Model.__call__`.

    Raises:
        ArgumentError: The network has no attention between tokens, or layers that differ in heads
            or tokens.
        DataError: The photograph cannot be read.
        DivergenceError: The queries or keys are not finite.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    subject = subject_of(model, image)
    layers = model.graph.attentions()
    if not layers:
        raise ArgumentError(
            f"attention of {model.name}: expected a network with attention between tokens, such as "
            "vit_b_16, got one without"
        )
    queries = model.features(subject.x, [of for _, of, _ in layers], exact=exact)
    weights = [_weights(queries[of][0], heads) for _, of, heads in layers]
    if len({one.shape for one in weights}) > 1:
        shapes = ", ".join(sorted({str(one.shape[:2]) for one in weights}))
        raise ArgumentError(
            f"attention of {model.name}: expected as many heads and tokens in each layer, got "
            f"{shapes}"
        )
    values = np.stack(weights)
    if not np.isfinite(values).all():
        raise DivergenceError(f"expected finite queries and keys of {model.name}, got others")
    before, height, width = _grid(subject, [node for node, _, _ in layers], values.shape[-1])
    return AttentionMaps(
        values=values,
        layers=tuple(node for node, _, _ in layers),
        before=before,
        grid=(height, width),
        size=subject.size,
        photo=subject.photo,
        model=model.name,
    )


def _weights(of: Floats, heads: int) -> Floats:
    """softmax(q · kᵀ / √d) of queries, keys and values (T, 3·D): (heads, T, T)."""
    tokens, width = of.shape
    size = width // 3 // heads
    queries, keys, _ = of.reshape(tokens, 3, heads, size).transpose(1, 2, 0, 3)
    # NumPy would warn of NaN, which is refused afterwards.
    with np.errstate(invalid="ignore", over="ignore"):
        scores: Floats = queries @ keys.swapaxes(1, 2) / np.float32(np.sqrt(size))
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
    return scores


def _grid(subject: Subject, nodes: Iterable[str], tokens: int) -> tuple[int, int, int]:
    for node in nodes:
        grid = subject.model.graph.grid(node, *subject.size)
        if grid is not None:
            return grid
    raise ArgumentError(
        f"attention of {subject.model.name}: expected tokens of patches, got {tokens} tokens that "
        "have no places in the photograph"
    )


def _index(at: str, value: int, count: int) -> int:
    """A number of 0 to count - 1; a negative one counts from the end."""
    return whole(at, value, least=-count, most=count - 1) % count
