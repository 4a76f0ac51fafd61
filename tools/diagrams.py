"""Draws the modules of docs/modules.md; with --check, compares them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cnnzoo as cz

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "modules.md"
PICTURES = DOCS / "modules"

HEAD = """# The modules of the networks

The part that each family repeats, drawn by `model.diagram(part=...)` from the graph that runs.
`make docs` writes this page. `cnnzoo diagram MODEL -o FILE.svg` draws a whole network, and
`cnnzoo info MODEL --parts` lists the names of its parts.
"""


@dataclass(frozen=True)
class Module:
    """A picture of the page: its title, the network, and the part that is drawn."""

    title: str
    network: str
    part: str
    words: str

    @property
    def file(self) -> str:
        """The name of the picture."""
        return f"{self.title.lower().replace(' ', '_')}.svg"

    def svg(self) -> str:
        """The picture."""
        return cz.create_model(self.network, meta=True).diagram(part=self.part).svg + "\n"


MODULES = (
    Module("Inception module", "googlenet", "inception3a", "four branches, concatenated"),
    Module(
        "Bottleneck block", "resnet50", "layer1.1", "three convolutions and a shortcut past them"
    ),
    Module("Dense block", "densenet121", "stage1", "layers of which each reads those before it"),
    Module("Fire module", "squeezenet1_1", "features.6", "a narrow layer, then two side by side"),
    Module(
        "Inverted residual",
        "mobilenet_v2",
        "features.3",
        "wide inside and narrow at the ends, which the shortcut joins",
    ),
    Module(
        "Gated inverted residual",
        "efficientnet_b0",
        "features.2.1",
        "the same with squeeze-and-excite",
    ),
    Module("Separable block", "xception", "block4", "three depthwise separable convolutions"),
    Module(
        "Encoder block",
        "vit_b_16",
        "encoder.layers.encoder_layer_0",
        "attention and two linear layers, each with a shortcut",
    ),
    Module(
        "Multi-query attention",
        "mobilenet_v4_hybrid_medium",
        "blocks.2.4",
        "queries of every pixel, keys and values of an image of half the size",
    ),
)


def page() -> str:
    """The text of the page."""
    sections = [
        f"\n## {module.title}\n\n`{module.network}`, `{module.part}`: {module.words}.\n\n"
        f"![{module.title}: {module.words}](modules/{module.file})\n"
        for module in MODULES
    ]
    return HEAD + "".join(sections)


def main() -> int:
    """Write the page and its pictures, or compare them."""
    wanted = {PAGE: page(), **{PICTURES / module.file: module.svg() for module in MODULES}}
    if "--check" not in sys.argv:
        PICTURES.mkdir(exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    old = [
        path.name
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if old:
        sys.stderr.write(f"docs: {', '.join(old)} out of date; run `make docs`\n")
    return 1 if old else 0


if __name__ == "__main__":
    raise SystemExit(main())
