"""The layers of a network that run in int8, with the errors that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cnnzoo._arguments import instance, is_sequence, number, shown, text, whole
from cnnzoo._copying import ReadOnly
from cnnzoo._html import html_table
from cnnzoo._rows import Rows
from cnnzoo._text import counted, shorten, table
from cnnzoo.errors import ArgumentError

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

    def __post_init__(self) -> None:
        at = "quantization: a layer's"
        text(f"{at} name", self.name)
        number(f"{at} error", self.error, least=0.0)
        instance(f"{at} is_int8", self.is_int8, bool, "True or False")


HEAD = ("layer", "error", "runs in")


@dataclass(frozen=True, kw_only=True, repr=False)
class Quantization(Rows[QuantizedLayer]):
    """The quantization of a network: its ranges, and the layers that run in int8.

    Printing it shows a table.

    Attributes:
        name: The name of the network.
        images: Number of images whose values were measured.
        most_error: The largest error of a layer that runs in int8.
        layers: The convolutions and linear layers, in the order in which they run.
        error: The error of the network as it runs in int8, measured as that of a layer.
        ranges: The lowest and the highest value of nodes, by name; read-only.

    Raises:
        ArgumentError: A field is of another kind, or a number is not finite.
    """

    name: str
    images: int
    most_error: float
    layers: tuple[QuantizedLayer, ...]
    error: float
    ranges: dict[str, tuple[float, float]]

    _rows_are = "layers"
    _found_by = "name"

    def __post_init__(self) -> None:
        text("quantization: name", self.name)
        whole("quantization: images", self.images, least=1)
        number("quantization: most_error", self.most_error, least=0.0)
        number("quantization: error", self.error, least=0.0)
        expected = "QuantizedLayer objects"
        if not isinstance(self.layers, list | tuple):
            raise ArgumentError(
                f"quantization: layers: expected {expected}, got {shown(self.layers)}"
            )
        layers = tuple(self.layers)
        for layer in layers:
            instance("quantization: layers", layer, QuantizedLayer, expected)
        object.__setattr__(self, "layers", layers)
        given = instance("quantization: ranges", self.ranges, dict, "a dict")
        ranges = {text("quantization: a node", node): _range(node, r) for node, r in given.items()}
        object.__setattr__(self, "ranges", ReadOnly(ranges))

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
    def _given(self) -> tuple[list[Range], list[tuple[str, bool]]]:
        """The ranges, and the layers with whether they run in int8, as an engine takes them."""
        ranges = [(name, low, high) for name, (low, high) in self.ranges.items()]
        return ranges, [(of.name, of.is_int8) for of in self.layers]


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


def _range(node: str, given: Any) -> tuple[float, float]:
    at = f"quantization: range of `{node}`"
    if not is_sequence(given) or len(given) != 2:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected the lowest and the highest value, got {shown(given)}")
    low, high = (number(at, value) for value in given)
    return low, high


def _type(layer: QuantizedLayer) -> str:
    return "int8" if layer.is_int8 else "float32"


def _cells(layer: QuantizedLayer) -> tuple[str, str, str]:
    return shorten(layer.name, NAME), f"{layer.error:.2%}", _type(layer)
