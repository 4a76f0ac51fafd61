"""Channels: the feature maps of a node, and the filters of a network's first layer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import instance, text, whole
from cnnzoo._html import html_picture
from cnnzoo._photo import Photo
from cnnzoo._plots import axes_for, save_figure
from cnnzoo._text import counted
from cnnzoo.errors import ArgumentError
from cnnzoo.explain._pixels import (
    ALARM,
    Bytes,
    Floats,
    coloured,
    enlarged,
    magnified,
    mosaic,
    scaled,
)
from cnnzoo.explain._subject import focus_of, places, subject_of
from cnnzoo.explain.heatmap import Heatmap, show, size_of
from cnnzoo.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS, FILTERS = "feature maps", "filters"
WIDTH = 6.4
# Channels in a picture, the most active ones.
MOST_CHANNELS = 36
# The side of a channel or filter in a picture, in pixels at least.
TILE = 56
COLOURS = 3


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FeatureMaps:
    """The channels of a node's value for one photograph.

    Attributes:
        values: float32 (C, h, w).
        node: The name of the node.
        size: Height and width of the network's input.
        photo: uint8 (S, S, 3): the part of the photograph that the network sees.
        model: The name of the network.
    """

    values: Floats
    node: str
    size: tuple[int, int]
    photo: Bytes
    model: str

    def strongest(self, count: int = MOST_CHANNELS) -> tuple[int, ...]:
        """The numbers of the channels with the largest mean magnitude, the strongest first.

        Channels with values that are infinite or NaN come before all others.

        Raises:
            ArgumentError: `count` is no whole number of at least 1.
        """
        count = whole("`count`", count, least=1)
        means = np.abs(self.values).mean((1, 2), dtype=np.float64)
        means[~np.isfinite(means)] = np.inf
        return tuple(int(channel) for channel in np.argsort(-means, kind="stable")[:count])

    def heatmap(self, channel: int) -> Heatmap:
        """One channel over the photograph.

        Raises:
            ArgumentError: There is no such channel.
        """
        channel = whole("`channel`", channel, most=len(self.values) - 1)
        raw = self.values[channel]
        return Heatmap(
            values=scaled(enlarged(raw, *self.size)),
            raw=raw,
            photo=self.photo,
            method=f"Channel {channel}",
            model=self.model,
            node=self.node,
        )

    def plot(self, *, count: int = MOST_CHANNELS, ax: Axes | None = None) -> Axes:
        """Draw the strongest channels, each from dark, its least value, to light, its largest.

        Values that are infinite or NaN are magenta.

        Args:
            count: Number of channels.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: `count` is no whole number of at least 1.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        pixels = self._picture(count)
        drawn: Axes = axes_for(ax, MAPS, size_of(pixels, WIDTH))
        channels, shown = len(self.values), min(count, len(self.values))
        of = "" if shown == channels else f"the {shown} strongest of "
        show(drawn, pixels, f"{self.node}", f"{of}{counted(channels, 'channel')} · {self.model}")
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        size = size_of(self._picture(MOST_CHANNELS), WIDTH)
        save_figure(path, MAPS, size, lambda ax: self.plot(ax=ax))

    def __repr__(self) -> str:
        return (
            f"<FeatureMaps `{self.node}` of {self.model}: {'×'.join(map(str, self.values.shape))}>"
        )

    def _repr_html_(self) -> str:
        return html_picture(self._picture(MOST_CHANNELS), repr(self))

    def _picture(self, count: int) -> Bytes:
        chosen = self.values[list(self.strongest(count))]
        return mosaic(np.stack([magnified(coloured(scaled(one)), TILE) for one in chosen]))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Filters:
    """The filters of a convolution.

    Attributes:
        values: float32 (out, in, h, w), the weight of the layer.
        node: The name of the layer.
        model: The name of the network.
    """

    values: Floats
    node: str
    model: str

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw each filter, in colour where the layer reads three channels.

        Grey is 0; each filter is scaled by its largest magnitude. The mean over the channels is
        drawn where they are not three. Weights that are infinite or NaN are magenta.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        pixels = self._picture()
        drawn: Axes = axes_for(ax, FILTERS, size_of(pixels, WIDTH))
        out, _, height, width = self.values.shape
        about = f"{counted(out, 'filter')} of {height}×{width} · {self.model}"
        show(drawn, pixels, self.node, about)
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        save_figure(path, FILTERS, size_of(self._picture(), WIDTH), lambda ax: self.plot(ax=ax))

    def __repr__(self) -> str:
        return f"<Filters `{self.node}` of {self.model}: {'×'.join(map(str, self.values.shape))}>"

    def _repr_html_(self) -> str:
        return html_picture(self._picture(), repr(self))

    def _picture(self) -> Bytes:
        values = self.values.astype(np.float64)
        if values.shape[1] != COLOURS:
            values = values.mean(1, keepdims=True).repeat(COLOURS, 1)
        lost = ~np.isfinite(values).all(1)
        values = np.where(np.isfinite(values), values, 0.0)
        most = np.abs(values).max((1, 2, 3), keepdims=True)
        tiles = 0.5 + values / np.where(most > 0, 2 * most, 1)
        pixels = np.rint(255 * tiles).astype(np.uint8).transpose(0, 2, 3, 1)
        pixels[lost] = ALARM
        return mosaic(np.stack([magnified(one, TILE) for one in pixels]))


def feature_maps(
    model: Model, image: Photo, node: str | None = None, *, exact: bool = False
) -> FeatureMaps:
    """The channels of a node's value for a photograph.

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        node: Name of a node whose value is an image, or tokens, of which those of patches are
            taken; as for `grad_cam` if not given.
        exact: Run the network on libtorch, as for `Model.__call__`.

    Raises:
        ArgumentError: There is no such node, or its value is a vector.
        DataError: The photograph cannot be read.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    subject = subject_of(model, image)
    name = focus_of(model, node)
    value = model.features(subject.x, name, exact=exact)[name]
    return FeatureMaps(
        values=places(subject, name, value),
        node=name,
        size=subject.size,
        photo=subject.photo,
        model=model.name,
    )


def filters(model: Model, node: str | None = None) -> Filters:
    """The filters of a network's first convolution, or of another.

    Args:
        model: The network.
        node: Name of a convolution; the first that reads the image if not given.

    Raises:
        ArgumentError: There is no such node, or it is no convolution.
        DeviceError: The model has no parameters.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    graph = model.graph
    if node is None:
        first = graph.first_convolutions()
        if not first:
            raise ArgumentError(f"filters of {model.name}: expected a convolution of the image")
        name = first[0]
    else:
        name = graph.find(text("`node`", node, "the name of a node"))
    names = [parameter for parameter, _, _ in graph.parameters()]
    weight = f"{name}.weight"
    values: NDArray[np.float32] | None = None
    if weight in names:
        found = model.state_dict()[weight]
        values = found if found.ndim == 4 else None  # noqa: PLR2004 (out, in, height, width)
    if values is None:
        raise ArgumentError(
            f"node `{name}` of {model.name}: expected a convolution, which has filters, got a node "
            "without"
        )
    return Filters(values=values, node=name, model=model.name)
