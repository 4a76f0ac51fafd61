"""A model's time on the CPU, step by step: a table, and a picture with a bar for each step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from cnnzoo._html import html_bar, html_table
from cnnzoo._plots import GREY, PALE, PAPER, axes_for, calm, ink, literal, save_figure
from cnnzoo._rows import Rows
from cnnzoo._text import counted, shorten, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More bars would be too thin to be read; then steps are drawn by block, or by stage.
MOST_BARS = 44
# Shorter times, in milliseconds, are not told apart in a picture.
LEAST = 0.01
# The width of the nodes in a table, in characters.
NODES = 60

WHAT = "a profile"
# The kinds of kernels, those alike in colours alike.
COLOURS = {
    "winograd": "#1d4e89",
    "strassen": "#2b6391",
    "conv": "#3a7ca5",
    "gated": "#3a7ca5",
    "linear": "#81b1d3",
    "block": "#2a9d8f",
    "depthwise": "#7cc6a4",
    "attention": "#8e5ea2",
    "layer_norm": "#c3a1cf",
    "group_norm": "#c3a1cf",
    "lrn": "#c3a1cf",
    "pool": "#e9a03b",
    "blur": "#f2c879",
    "map": "#d1603d",
}


@dataclass(frozen=True, kw_only=True)
class ProfileStep:
    """One step of a run.

    Attributes:
        kernel: The kernel with its algorithm and window, as in `Model.plan`.
        nodes: The nodes that it computes.
        fused: Biases, norms, sums and activations that it computes too.
        parts: The names of the stage and block that hold it, or of other parts of the network, the
            outer one first.
        shape: (N, H, W, C) of the value that it writes.
        milliseconds: The median of its times.
        flops: Floating-point operations of its convolutions, linear layers, blurs and attention by
            their definition, two for each multiply-add, as `Model.summary` counts these; 0 for what
            moves memory only.
        gflops: `flops` by its time, in billions per second.
        share: `gflops` as a fraction of the peak. Winograd's algorithm needs fewer operations than
            are counted, so it may come to more than 1.
    """

    kernel: str
    nodes: tuple[str, ...]
    fused: tuple[str, ...]
    parts: tuple[str, ...]
    shape: tuple[int, ...]
    milliseconds: float
    flops: int
    gflops: float
    share: float

    @property
    def kind(self) -> str:
        """The kind of kernel: the first word of `kernel`."""
        return self.kernel.split()[0]


@dataclass(frozen=True, kw_only=True, repr=False)
class Profile(Rows[ProfileStep]):
    """The times of a model's steps on the CPU; printing it shows a table.

    Attributes:
        name: The name of the network.
        x_shape: (N, C, H, W) of the images.
        threads: Number of threads, the caller's included.
        steps: The steps, in the order of a run.
        run_milliseconds: The median time of a whole run, with the copy of the output. Where other
            programs interrupt each run somewhere, it is much longer than the steps' sum. It may be
            shorter for a batch: a run gives each image to one thread where that is faster, and the
            steps are timed with all threads in each.
        peak_gflops: The most operations that these threads do in a second, in billions, measured
            with multiply-adds of float32 whose numbers are all in registers.
    """

    name: str
    x_shape: tuple[int, ...]
    threads: int
    steps: tuple[ProfileStep, ...]
    run_milliseconds: float
    peak_gflops: float

    _rows_are = "steps"

    @property
    def milliseconds(self) -> float:
        """The time of all steps: the sum of their medians."""
        return sum(step.milliseconds for step in self.steps)

    @property
    def flops(self) -> int:
        """Floating-point operations of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def gflops(self) -> float:
        """Floating-point operations of all steps by their time, in billions per second."""
        return self.flops / (1e6 * self.milliseconds)

    @property
    def share(self) -> float:
        """`gflops` as a fraction of the peak."""
        return self.gflops / self.peak_gflops

    def table(self, *, by_time: bool = False) -> str:
        """Tabulate the steps: kernel, value, time, and rate.

        Args:
            by_time: Put the slowest step first, in place of the order of the run.
        """
        steps = sorted(self.steps, key=lambda s: -s.milliseconds) if by_time else self.steps
        head = ("kernel", "output", "ms", "time", "GFLOP/s", "of peak", "nodes")
        rows = table(head, [self._cells(step) for step in steps], right=(1, 2, 3, 4, 5))
        return f"{rows}\n\n{self._title()}: {self._total()}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        most = max((step.milliseconds for step in self.steps), default=0.0) or 1.0
        head = ("kernel", "ms", "", "GFLOP/s", "of peak", "nodes")
        rows = []
        for step in self.steps:
            kernel, _, ms, _, rate, share, nodes = self._cells(step)
            bar = html_bar(step.milliseconds / most, colour=COLOURS.get(step.kind, PALE))
            rows.append((kernel, ms, bar, rate, share, nodes))
        caption = f"{self._title()}: {self._total()}"
        return html_table(head, rows, right=(1, 3, 4), caption=caption)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw a bar for the time of each step, in the order of the run and coloured by kernel.

        A profile of more than 44 steps has a bar for each block, or else each stage, divided by
        kernel.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        drawn: Axes = axes_for(ax, WHAT, self._size())
        self._draw(drawn)
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        save_figure(path, WHAT, self._size(), self._draw)

    def _size(self) -> tuple[float, float]:
        """Width and height of a picture, in inches."""
        return 9.0, 1.4 + 0.2 * max(len(_bars(self.steps)), 8)

    def _title(self) -> str:
        threads = counted(self.threads, "thread")
        return f"{self.name} on {'×'.join(map(str, self.x_shape))}, {threads}"

    def _total(self) -> str:
        return (
            f"{self.milliseconds:.2f} ms in {len(self.steps)} steps, {self.gflops:.0f} GFLOP/s, "
            f"{self.share:.0%} of a peak of {self.peak_gflops:.0f}"
        )

    def _cells(self, step: ProfileStep) -> tuple[str, ...]:
        return (
            step.kernel,
            "×".join(map(str, step.shape)),
            f"{step.milliseconds:.3f}",
            f"{step.milliseconds / self.milliseconds:.1%}",
            f"{step.gflops:.1f}" if step.flops else "",
            f"{step.share:.0%}" if step.flops else "",
            shorten(" + ".join((step.nodes[0], *step.fused)), NODES),
        )

    def _draw(self, ax: Axes) -> None:
        bars = _bars(self.steps)
        most = max((sum(bar.times.values()) for bar in bars), default=0.0) or 1.0
        kinds = list(_by_kind(self.steps))
        for place, bar in enumerate(bars):
            left = 0.0
            for kind, time in sorted(bar.times.items(), key=lambda pair: kinds.index(pair[0])):
                colour = COLOURS.get(kind, PALE)
                ax.barh(place, time, 0.74, left, color=colour, edgecolor=PAPER, linewidth=0.4)
                left += time
            note = f"{left:.2f} ms" if left >= LEAST else f"< {LEAST} ms"
            if left >= 0.02 * self.milliseconds:
                note += f" · {left / self.milliseconds:.0%}"
                if bar.flops:
                    share = bar.flops / (1e6 * left) / self.peak_gflops
                    note += f" · {share:.0%} of peak"
            ax.text(left + most / 90, place, note, va="center", fontsize=7.5, color=GREY)
        ax.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=8, color=ink(ax))
        ax.set_ylim(len(bars) - 0.4, -0.6)
        ax.set_xlim(0, 1.3 * most)
        ax.set_xlabel("milliseconds")
        calm(ax, grid="x")
        ax.tick_params(axis="y", length=0, labelcolor=ink(ax))
        ax.spines["left"].set_visible(False)
        self._write_head(ax)

    def _write_head(self, ax: Axes) -> None:
        """Title, totals and legend, above the bars."""
        from matplotlib.patches import Patch

        entries = [
            Patch(color=COLOURS.get(kind, PALE), label=f"{kind} {time / self.milliseconds:.0%}")
            for kind, time in _by_kind(self.steps).items()
            if time >= 0.005 * self.milliseconds
        ]
        ax.legend(
            handles=entries,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=max(1, len(entries)),
            fontsize=8,
            frameon=False,
            labelcolor=ink(ax),
            handlelength=1,
            handleheight=1,
            handletextpad=0.5,
            columnspacing=1.4,
            borderaxespad=0.6,
            borderpad=0,
        )
        for text, height, size, colour, weight in (
            (literal(self._title()), 40, 11, ink(ax), "bold"),
            (self._total(), 25, 8, GREY, "normal"),
        ):
            ax.annotate(
                text,
                (0, 1),
                (0, height),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=size,
                color=colour,
                weight=weight,
            )


def profile_of(
    name: str,
    x_shape: tuple[int, ...],
    rows: Iterable[tuple[str, list[str], list[str], list[int], list[str], float, int]],
    *,
    seconds: float,
    peak: float,
    threads: int,
) -> Profile:
    """The profile of the extension's rows, in its units: seconds and operations per second."""
    steps = tuple(
        ProfileStep(
            kernel=kernel,
            nodes=tuple(nodes),
            fused=tuple(fused),
            parts=tuple(parts),
            shape=tuple(shape),
            milliseconds=1e3 * time,
            flops=flops,
            # A clock may not have advanced over a step that does nothing.
            gflops=flops / max(time, 1e-9) / 1e9,
            share=flops / max(time, 1e-9) / peak,
        )
        for kernel, nodes, fused, shape, parts, time, flops in rows
    )
    return Profile(
        name=name,
        x_shape=tuple(x_shape),
        threads=threads,
        steps=steps,
        run_milliseconds=1e3 * seconds,
        peak_gflops=peak / 1e9,
    )


@dataclass(frozen=True)
class _Bar:
    """A step, or several that are drawn together: the times of each kind of kernel."""

    label: str
    times: dict[str, float]
    flops: int


def _by_kind(steps: Iterable[ProfileStep]) -> dict[str, float]:
    """The time of each kind of kernel, the longest first."""
    times: dict[str, float] = {}
    for step in steps:
        times[step.kind] = times.get(step.kind, 0.0) + step.milliseconds
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))


def _bars(steps: tuple[ProfileStep, ...]) -> list[_Bar]:
    """The bars of a picture: of steps, or of blocks or stages where there are too many."""

    def own(step: ProfileStep) -> str:
        return step.nodes[0]

    levels: tuple[Callable[[ProfileStep], str], ...] = (
        own,
        lambda step: step.parts[-1] if step.parts else own(step),
        lambda step: step.parts[0] if step.parts else own(step),
    )
    bars: list[_Bar] = []
    for level in levels:
        groups = [(name, tuple(found)) for name, found in groupby(steps, level)]
        if level is own:
            groups = [(own(step), (step,)) for step in steps]
        bars = [_Bar(name, _by_kind(of), sum(step.flops for step in of)) for name, of in groups]
        if len(bars) <= MOST_BARS:
            break
    return bars
