"""The layers of a network that run in int8, with the errors that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cnnzoo._html import html_table
from cnnzoo._text import counted, shorten, table

# The width of a layer's name in a table, in characters.
NAME = 60

# The lowest and the highest value of a node, by its name.
Range = tuple[str, float, float]


@dataclass(frozen=True, kw_only=True)
class QuantizedLayer:
    """A convolution or linear layer of a quantized network.

    Attributes:
        name: The name of its node.
        error: The error of the network's output where this layer alone runs in int8: the root of
            the mean square of differences from float32, relative to the spread of an image's
            logits. It is 0 for layers that cannot run in int8, and for depthwise convolutions,
            which compute in float32 and only take and give the values of layers next to them.
        is_int8: Whether it runs in int8; else it stays in float32.
    """

    name: str
    error: float
    is_int8: bool


HEAD = ("layer", "error", "runs in")


@dataclass(frozen=True, kw_only=True, repr=False)
class Quantization:
    """The quantization of a network: its ranges, and the layers that run in int8.

    Printing it shows a table.

    Attributes:
        name: The name of the network.
        images: Number of images whose values were measured.
        most_error: The largest error of a layer that runs in int8.
        layers: The convolutions and linear layers, in the order in which they run.
        error: The error of the network as it runs in int8, measured as that of a layer.
        ranges: The lowest and the highest value of nodes, by name.
    """

    name: str
    images: int
    most_error: float
    layers: tuple[QuantizedLayer, ...]
    error: float
    ranges: dict[str, tuple[float, float]]

    def table(self, *, by_error: bool = False) -> str:
        """Tabulate the layers: the error of each, and the type in which it runs.

        Args:
            by_error: Put the largest error first, in place of the order of the network.
        """
        layers = sorted(self.layers, key=lambda of: -of.error) if by_error else self.layers
        rows = table(HEAD, [_cells(of) for of in layers], right=(1,))
        return f"{rows}\n\n{self._total()}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return html_table(
            HEAD, [_cells(of) for of in self.layers], right=(1,), caption=self._total()
        )

    def _total(self) -> str:
        quantized = sum(of.is_int8 for of in self.layers)
        return (
            f"{self.name}, measured on {counted(self.images, 'image')}: {quantized} of "
            f"{counted(len(self.layers), 'layer')} in int8, error {self.error:.2%}"
        )

    @property
    def _given(self) -> tuple[list[Range], list[str]]:
        """The ranges, and the layers that stay in float32, as an engine takes them."""
        ranges = [(name, low, high) for name, (low, high) in self.ranges.items()]
        return ranges, [of.name for of in self.layers if not of.is_int8]


def quantization_of(
    name: str,
    rows: Iterable[tuple[str, float, bool]],
    ranges: Iterable[Range],
    *,
    images: int,
    most_error: float,
    error: float,
) -> Quantization:
    """The quantization of the extension's rows."""
    return Quantization(
        name=name,
        images=images,
        most_error=most_error,
        layers=tuple(
            QuantizedLayer(name=layer, error=of, is_int8=is_int8) for layer, of, is_int8 in rows
        ),
        error=error,
        ranges={node: (low, high) for node, low, high in ranges},
    )


def _type(layer: QuantizedLayer) -> str:
    return "int8" if layer.is_int8 else "float32"


def _cells(layer: QuantizedLayer) -> tuple[str, str, str]:
    return shorten(layer.name, NAME), f"{layer.error:.2%}", _type(layer)
