"""Data sets and loaders in notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._html import Markup, html_bar, html_facts, html_scroll, html_table, html_title

# Names of samples that are shown.
MOST_NAMES = 5


def classes_page(about: str, classes: Sequence[str], labels: NDArray[np.int64]) -> Markup:
    """A table of the classes, with the number of samples of each and a bar for it."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    most = max(counts, default=0) or 1
    rows = [
        (str(label), name, f"{count:,}", html_bar(count / most))
        for label, (name, count) in enumerate(zip(classes, counts, strict=True))
    ]
    head = ("label", "class", "pictures", "")
    return Markup(html_title(about) + html_scroll(html_table(head, rows, right=(0, 2))))


def names_page(about: str, names: Sequence[str], count: int) -> Markup:
    """The first names of samples without labels."""
    more = [f"and {count - len(names):,} more"] * (count > len(names))
    return Markup(html_title(about) + html_table((), [(name,) for name in [*names, *more]]))


def loader_page(title: str, facts: dict[str, Any], transform: Any) -> Markup:
    """The options of a loader and its transform."""
    own = getattr(transform, "_repr_html_", None)
    shown = Markup(own()) if own is not None else repr(transform)
    rows = [
        (name, value if isinstance(value, str) else f"{value}") for name, value in facts.items()
    ]
    return html_facts(title, [*rows, ("transform", shown)])
