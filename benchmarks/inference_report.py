"""Tables and the picture of `inference.py`."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnzoo.racing import Figures, Outcome, gflops

OURS = "cnnzoo"
MARKED = re.compile(r"(<!-- inference -->\n).*?(<!-- end of inference -->)", re.DOTALL)

Titles = Mapping[str, str]


@dataclass
class Case:
    """The figures of one network, batch and number of threads."""

    network: str
    batch: int
    threads: int
    size: int
    macs: int
    """Multiply-adds of one image."""
    gemm: float | None
    """GFLOP/s of the product of matrices."""
    load_average: float
    figures: dict[str, Figures]
    missing: dict[str, str]

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Case:
        """A case of a JSON file, where an infinite error is null."""
        figures = {}
        for name, fields in stored["figures"].items():
            error = math.inf if fields["error"] is None else fields["error"]
            figures[name] = Figures(**{**fields, "error": error})
        return cls(**{**stored, "figures": figures})

    @property
    def key(self) -> tuple[str, int, int]:
        """Network, batch, threads."""
        return self.network, self.batch, self.threads

    def gflops(self, name: str) -> float:
        """The speed of an engine in GFLOP/s."""
        return gflops(self.batch * self.macs, self.figures[name].seconds)

    def share(self, name: str) -> float:
        """The speed of an engine over the GEMM peak; above 1 where Winograd saves products."""
        return self.gflops(name) / self.gemm if self.gemm else math.nan

    def best_peer(self) -> str | None:
        """The fastest other engine whose answer is right."""
        return Outcome(self.figures).best([name for name in self.figures if name != OURS])

    def ratio(self) -> float:
        """Our time over the best peer's; NaN where either is missing or ours is wrong."""
        ours, best = self.figures.get(OURS), self.best_peer()
        if ours is None or ours.wrong or best is None:
            return math.nan
        return ours.seconds / self.figures[best].seconds


def lines(case: Case, titles: Titles) -> str:
    """The figures of a case for people: a line for each engine, the fastest first."""
    best = case.best_peer()
    peak = f"{case.gemm:.0f} GFLOP/s" if case.gemm else "not measured"
    rows = [
        f"\n{case.network}, {case.batch} x {case.size}, {case.threads} threads; GEMM peak {peak}, "
        f"load {case.load_average:.1f}; best peer: {titles[best] if best else 'none'}, ours/best "
        f"{case.ratio():.2f}",
        f"  {'engine':20}{'ms':>9}{'images/s':>10}{'GFLOP/s':>9}{'of peak':>9}{'MiB':>7}"
        f"{'load, ms':>10}{'first, ms':>11}{'error':>9}",
    ]
    for name, figures in sorted(case.figures.items(), key=lambda item: item[1].seconds):
        rows.append(
            f"  {titles[name]:20}{1e3 * figures.seconds:9.2f}{case.batch / figures.seconds:10.1f}"
            f"{case.gflops(name):9.1f}{case.share(name):9.2f}{figures.bytes >> 20:7}"
            f"{1e3 * figures.load:10.0f}{1e3 * figures.first:11.1f}{figures.error:9.0e}"
            + "  WRONG"
            * figures.wrong
        )
    rows += [f"  {titles[name]:20}missing: {why}" for name, why in case.missing.items()]
    return "\n".join(rows)


def mean(cases: Sequence[Case]) -> float:
    """The geometric mean of the ratios."""
    ratios = [case.ratio() for case in cases if not math.isnan(case.ratio())]
    return statistics.geometric_mean(ratios) if ratios else math.nan


def settings(cases: Sequence[Case]) -> dict[tuple[int, int], list[Case]]:
    """The cases by batch and threads: small batches first, many threads first."""
    found: dict[tuple[int, int], list[Case]] = {}
    for case in sorted(cases, key=lambda case: (case.batch, -case.threads)):
        found.setdefault((case.batch, case.threads), []).append(case)
    return found


def heading(batch: int, threads: int) -> str:
    """The title of a setting."""
    images = "1 image" if batch == 1 else f"{batch} images"
    return f"{images}, {'one thread' if threads == 1 else f'{threads} threads'}"


def columns(cases: Sequence[Case], titles: Titles) -> list[str]:
    """The engines that were measured in any of the cases."""
    return [name for name in titles if any(name in case.figures for case in cases)]


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def latencies(cases: Sequence[Case], titles: Titles) -> str:
    """The milliseconds of every engine, the best peer's in bold, and the ratio of ours to it."""
    names = columns(cases, titles)
    rows = [row("network", *(titles[name] for name in names), "ratio")]
    rows.append("|---" * (len(names) + 2) + "|")
    for case in cases:
        cells = [latency(case, name) for name in names]
        rows.append(row(case.network, *cells, number(case.ratio(), "{:.2f}")))
    rows.append(row("geometric mean", *[""] * len(names), number(mean(cases), "{:.2f}")))
    return "\n".join(rows)


def latency(case: Case, name: str) -> str:
    """The milliseconds of an engine: bold for the best peer, with † for a wrong answer."""
    if name not in case.figures:
        return "–"
    text = milliseconds(case.figures[name].seconds)
    if case.figures[name].wrong:
        return f"{text}†"
    return f"**{text}**" if name == case.best_peer() else text


def milliseconds(seconds: float) -> str:
    """Milliseconds with three digits, or all before the point."""
    value = 1e3 * seconds
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def number(value: float, form: str) -> str:
    """A number, or a dash for NaN."""
    return "–" if math.isnan(value) else form.format(value)


def details(cases: Sequence[Case], titles: Titles) -> str:
    """Speed, memory, loading and error of ours; memory and first call of others."""
    head = ("network", "images/s", "GFLOP/s", "of the GEMM peak", "best peer, of the peak")
    head += ("MiB", "MiB, onnxruntime", "load, ms", "first call, ms", "error")
    rows = [row(*head), "|---" * len(head) + "|"]
    for case in cases:
        ours, best = case.figures.get(OURS), case.best_peer()
        if ours is None:
            continue
        other = case.figures.get("onnxruntime")
        rows.append(
            row(
                case.network,
                f"{case.batch / ours.seconds:.1f}",
                f"{case.gflops(OURS):.0f}",
                number(100 * case.share(OURS), "{:.0f} %"),
                f"{titles[best]}, {100 * case.share(best):.0f} %" if best else "–",
                str(ours.bytes >> 20),
                str(other.bytes >> 20) if other else "–",
                f"{1e3 * ours.load:.0f}",
                f"{1e3 * ours.first:.0f}",
                f"{ours.error:.0e}",
            )
        )
    return "\n".join(rows)


def engines(cases: Sequence[Case], titles: Titles) -> str:
    """Each engine's version, largest error, and what it did not run."""
    head = ("engine", "version", "largest error", "wrong (†)", "did not run")
    rows = [row(*head), "|---" * len(head) + "|"]
    for name, title in titles.items():
        found = [case.figures[name] for case in cases if name in case.figures]
        wrong = {c.network for c in cases if name in c.figures and c.figures[name].wrong}
        right = [figures.error for figures in found if not figures.wrong]
        reasons: dict[str, list[str]] = {}
        for case in cases:
            if name in case.missing:
                networks = reasons.setdefault(case.missing[name].replace("|", "/"), [])
                networks += [case.network] * (case.network not in networks)
        failed = "; ".join(f"{', '.join(at)}: {why}" for why, at in reasons.items())
        if not found and not failed:
            continue
        rows.append(
            row(
                title,
                found[0].version if found else "–",
                f"{max(right):.0e}" if right else "–",
                ", ".join(sorted(wrong)) or "–",
                failed or "–",
            )
        )
    return "\n".join(rows)


def markdown(
    cases: Sequence[Case], titles: Titles, machine: str, picture: Path | None = None
) -> str:
    """All tables, below the picture if there is one."""
    parts = [f"Measured on {machine}."]
    if picture is not None:
        parts.append(f"![Time of each engine, relative to the fastest other one]({picture.name})")
    for (batch, threads), these in settings(cases).items():
        peaks = sorted(case.gemm for case in these if case.gemm)
        spread = [f"{peak:.0f}" for peak in (*peaks[:1], *peaks[-1:])]
        peak = f"; GEMM peak {' to '.join(dict.fromkeys(spread))} GFLOP/s" if peaks else ""
        title = heading(batch, threads)
        parts += [f"**{title}**, milliseconds{peak}:", latencies(these, titles)]
    for (batch, threads), these in settings(cases).items():
        parts += [f"cnnzoo, {heading(batch, threads)}:", details(these, titles)]
    parts += ["Engines:", engines(cases, titles)]
    return "\n\n".join(parts) + "\n"


def filled(
    text: str, cases: Sequence[Case], titles: Titles, machine: str, picture: Path | None
) -> str:
    """A Markdown text with the tables between its marks."""
    if not MARKED.search(text):
        raise ValueError("expected the marks <!-- inference --> and <!-- end of inference -->")
    tables = markdown(cases, titles, machine, picture)
    return MARKED.sub(lambda match: match[1] + tables + match[2], text)


def draw(cases: Sequence[Case], titles: Titles, path: Path) -> None:
    """Draw the time of each engine relative to the best peer: a panel for each setting."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    found = settings(cases)
    networks = list(dict.fromkeys(case.network for case in cases))
    names = [name for name in columns(cases, titles) if name != OURS]
    across = min(2, len(found))
    down = -(-len(found) // across)
    height = 0.32 * len(networks) + 1.0
    # Text stays text, and neither a date nor random names make two drawings differ.
    look = {"svg.fonttype": "none", "svg.hashsalt": "inference", "font.family": "sans-serif"}
    with pyplot.rc_context(look):
        figure, grid = pyplot.subplots(
            down, across, figsize=(5.4 * across, height * down + 0.6), sharex=True, squeeze=False
        )
        axes = list(grid.flat)
        for panel, ((batch, threads), these) in zip(axes, found.items(), strict=False):
            _panel(panel, these, networks, names, titles)
            average = number(mean(these), "{:.2f}")
            panel.set_title(
                f"{heading(batch, threads)}; geometric mean {average}", loc="left", fontsize=10
            )
        for panel in axes[len(found) :]:
            panel.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        handles, labels = handles[-1:] + handles[:-1], labels[-1:] + labels[:-1]  # ours first
        wide = 3 * across
        figure.legend(
            handles, labels, ncols=wide, loc="lower center", frameon=False, fontsize=8.5,
            handletextpad=0.2, columnspacing=1.2,
        )  # fmt: skip
        inches = 0.15 + 0.2 * math.ceil(len(labels) / wide)
        figure.tight_layout(rect=(0, inches / figure.get_figheight(), 1, 1), h_pad=1.5, w_pad=2)
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)


# The look of the picture. Engines have a colour and a shape each, so that either tells them apart.
INK, FAINT, ACCENT, GAIN = "#24292f", "#d8dee4", "#d1242f", "#eaf5ea"
SHAPES = "osD^v<>PX*"
COLOURS = (
    *("#6e7781", "#a8b1bb", "#57606a", "#0969da", "#1b9e77", "#8250df", "#bf8700", "#0598bc"),
    *("#e07b39", "#4d7c0f"),
)
# The range of ratios that is drawn; what is slower stands at the right edge.
NARROWEST, WIDEST = 0.3, 4.5


def _panel(
    panel: Any, cases: Sequence[Case], networks: Sequence[str], names: Sequence[str], titles: Titles
) -> None:
    """The engines of one setting: a line for each network."""
    lines_at = {network: at for at, network in enumerate(networks)}
    panel.axvspan(NARROWEST, 1, color=GAIN, zorder=0, linewidth=0)
    panel.axvline(1, color=INK, linewidth=0.8, zorder=1)
    drawn = {case.network: case for case in cases if case.best_peer() is not None}
    for number_, name in enumerate(names):
        points = [
            (min(WIDEST, relative(case, name)), lines_at[network])
            for network, case in drawn.items()
            if name in case.figures and not case.figures[name].wrong
        ]
        panel.scatter(
            [x for x, _ in points], [y for _, y in points], s=22, alpha=0.85, linewidths=0,
            color=COLOURS[number_ % len(COLOURS)], marker=SHAPES[number_ % len(SHAPES)],
            label=titles[name], zorder=3,
        )  # fmt: skip
    ours = [
        (case.ratio(), lines_at[network])
        for network, case in drawn.items()
        if not math.isnan(case.ratio())
    ]
    panel.scatter(
        [min(WIDEST, x) for x, _ in ours], [y for _, y in ours], s=62, color=ACCENT, marker="o",
        edgecolors="white", linewidths=0.9, label=titles[OURS], zorder=4,
    )  # fmt: skip
    for x, y in ours:
        panel.annotate(
            f"{x:.2f}", (NARROWEST, y), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=ACCENT, zorder=5,
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(NARROWEST, 1.06 * WIDEST)
    ticks = (0.5, 0.7, 1, 1.5, 2, 3, 4)
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8.5)
    panel.minorticks_off()
    panel.set_ylim(len(networks) - 0.5, -0.5)
    panel.set_yticks(range(len(networks)), networks, fontsize=8.5)
    panel.set_xlabel("time, relative to the fastest other engine (less is better)", fontsize=8.5)
    panel.tick_params(length=0, labelbottom=True, colors=INK)
    panel.grid(axis="both", color=FAINT, linewidth=0.6, zorder=0.5)
    panel.set_axisbelow(True)
    for side in panel.spines.values():
        side.set_visible(False)


def relative(case: Case, name: str) -> float:
    """The time of an engine over the best peer's."""
    best = case.best_peer()
    assert best is not None
    return case.figures[name].seconds / case.figures[best].seconds
