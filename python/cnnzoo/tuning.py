"""The measured choice of algorithms for a network's convolutions, and its file."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from cnnzoo import _json, _native, _record
from cnnzoo._arguments import path_of
from cnnzoo._configuration import check_format
from cnnzoo._files import open_regular
from cnnzoo._record import Misfit
from cnnzoo._rows import Rows
from cnnzoo._text import counted, shorten, table
from cnnzoo.errors import TuningError, TuningFileError, TuningFileNotFoundError

# The version of the file's format.
FORMAT = 1

# The width of the nodes in a table, in characters.
NODES = 40

# Kernel, stride, dilation, groups, padding, channels in and out, and the size of the image.
Row = tuple[
    tuple[int, int],
    tuple[int, int],
    tuple[int, int],
    int,
    tuple[int, int, int, int],
    int,
    int,
    tuple[int, int],
]


@dataclass(frozen=True, kw_only=True)
class TunedLayer:
    """A convolution or linear layer whose algorithms were measured; equal ones are one layer.

    Attributes:
        nodes: The layers, by the names of their nodes.
        kernel: Height and width of the window.
        stride: Vertical and horizontal stride.
        dilation: Vertical and horizontal dilation.
        groups: Number of groups of channels.
        padding: Rows above and below the image, and columns left and right of it.
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        image: Height and width of the input.
        batch: Number of images that ran together.
        threads: Number of threads that ran them.
        milliseconds: The median time of each algorithm: `direct`, Winograd's with a tile, such as
            `F(4×4, 3×3)`, or `Strassen`.
        rule: The algorithm that the engine's rules choose.
        chosen: The algorithm that the model uses: the fastest, where it saves at least 3 % of the
            rule's time, in the median and in the least time; else the rule's.
    """

    nodes: tuple[str, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    padding: tuple[int, int, int, int]
    in_channels: int
    out_channels: int
    image: tuple[int, int]
    batch: int
    threads: int
    milliseconds: dict[str, float]
    rule: str
    chosen: str

    @property
    def _row(self) -> Row:
        """The layer for the engine, which looks up its algorithm by these numbers alone."""
        return (
            self.kernel,
            self.stride,
            self.dilation,
            self.groups,
            self.padding,
            self.in_channels,
            self.out_channels,
            self.image,
        )

    def _check(self, at: str) -> None:
        """Check that there are such algorithms for the layer.

        Raises:
            Misfit: There is one of another name.
        """
        names = _native.algorithms(self._row)
        named = {"rule": [self.rule], "chosen": [self.chosen], "milliseconds": self.milliseconds}
        for field, found in named.items():
            for name in found:
                if name not in names:
                    raise Misfit(f"{at}.{field}", " or ".join(names), name)

    def _saved(self) -> float:
        """The milliseconds that the choice saves in each run, beside the rule's."""
        times = self.milliseconds
        return len(self.nodes) * (times.get(self.rule, 0.0) - times.get(self.chosen, 0.0))


@dataclass(frozen=True, kw_only=True, repr=False)
class Tuning(Rows[TunedLayer]):
    """The measured choice of algorithms for a network's convolutions; printing it shows a table.

    Attributes:
        name: The name of the network.
        processor: The name of the processor on which it was measured, as the system gives it.
        instructions: The vector instructions: `amx`, `avx512`, `avx2` or `portable`.
        layers: The distinct convolutions that have several algorithms.
    """

    name: str
    processor: str
    instructions: str
    layers: tuple[TunedLayer, ...]

    _rows_are = "layers"

    @property
    def fits_here(self) -> bool:
        """Whether it was measured on such a processor with these vector instructions."""
        return (self.processor, self.instructions) == (processor(), _native.instructions())

    def beside(self, other: Tuning) -> Tuning:
        """With the layers of another tuning that this one does not have.

        Args:
            other: A tuning of the same processor and vector instructions.
        """
        own = {layer._row for layer in self.layers}
        others = tuple(layer for layer in other.layers if layer._row not in own)
        return replace(self, layers=self.layers + others)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a tuning file, as JSON, for `load`.

        Raises:
            TuningError: The file cannot be written; it is an OSError too.
        """
        path = path_of("`path`", path)
        with _of_file(path):
            path.write_text(_json.lines({"format": FORMAT, **asdict(self)}) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tuning:
        """Read a tuning file, which `save` wrote, for `Model.tuning`.

        Files of another processor can be read, and no model takes them.

        Raises:
            TuningError: The file is missing (it is a FileNotFoundError too), damaged, of a newer
                version, or names an algorithm that there is not for a layer.
        """
        path = path_of("`path`", path)
        with _of_file(path):
            with open_regular(path) as file:
                text = file.read().decode("utf-8", "backslashreplace")
            given = _record.decoded(text, "tuning")
            if isinstance(given, dict):
                check_format(given.pop("format", None), FORMAT, "tuning.format")
            found = _record.record(cls, given, "tuning")
            for number, layer in enumerate(found.layers):
                layer._check(f"tuning.layers.{number}")
        return found

    def table(self) -> str:
        """Tabulate the layers: the time of each algorithm in milliseconds, and the choice."""
        names = list(dict.fromkeys(name for of in self.layers for name in of.milliseconds))
        head = ("convolution", "batch", "threads", *names, "rule", "chosen", "nodes")
        rows = table(
            head,
            [
                (
                    _words(of),
                    str(of.batch),
                    str(of.threads),
                    *(_cell(of.milliseconds.get(name)) for name in names),
                    of.rule,
                    of.chosen,
                    shorten(", ".join(of.nodes), NODES),
                )
                for of in self.layers
            ],
            right=range(1, 3 + len(names)),
        )
        changed = [of for of in self.layers if of.chosen != of.rule]
        total = (
            f"{self.name} on {self.processor}, {self.instructions}: "
            f"{counted(len(self.layers), 'distinct layer')}, {len(changed)} with another algorithm "
            "than the rule's"
        )
        saved = sum(of._saved() for of in changed)
        return f"{rows}\n\n{total}" + (f", which save {saved:.3f} ms" if changed else "")

    def __repr__(self) -> str:
        return self.table()


def tuning_of(name: str, batch: int, tuner: _native.Tuner) -> Tuning:
    """The tuning that follows from the extension's measurement, in its units: seconds."""
    layers = []
    for row, nodes, times, rule, chosen in tuner.measured():
        kernel, stride, dilation, groups, padding, in_channels, out_channels, image = row
        layers.append(
            TunedLayer(
                nodes=tuple(nodes),
                kernel=(kernel[0], kernel[1]),
                stride=(stride[0], stride[1]),
                dilation=(dilation[0], dilation[1]),
                groups=groups,
                padding=(padding[0], padding[1], padding[2], padding[3]),
                in_channels=in_channels,
                out_channels=out_channels,
                image=(image[0], image[1]),
                batch=batch,
                threads=tuner.threads,
                milliseconds={algorithm: 1e3 * seconds for algorithm, seconds in times},
                rule=rule,
                chosen=chosen,
            )
        )
    return Tuning(
        name=name,
        processor=processor(),
        instructions=_native.instructions(),
        layers=tuple(layers),
    )


@cache
def processor() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _words(layer: TunedLayer) -> str:
    """A layer in words: `3×3 /2, 64 to 128 on 56×56`."""

    def product(sizes: tuple[int, int]) -> str:
        return f"{sizes[0]}×{sizes[1]}"

    down, right = layer.stride
    stride = (
        "" if (down, right) == (1, 1) else f" /{down if down == right else product((down, right))}"
    )
    channels = f"{layer.in_channels} to {layer.out_channels}"
    return f"{product(layer.kernel)}{stride}, {channels} on {product(layer.image)}"


def _cell(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.3f}"


@contextlib.contextmanager
def _of_file(path: Path) -> Iterator[None]:
    """Turn errors of a file and of its contents into a `TuningError` that names it."""
    try:
        yield
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        kind = TuningFileNotFoundError if missing else TuningFileError
        found = kind(f"{path}: {error.strerror or error}")
        found.errno = error.errno
        raise found from error
    except Misfit as error:
        raise TuningError(f"{path}: {error}") from error
