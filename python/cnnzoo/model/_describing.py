"""A network's description, which does not run it: summary and diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnzoo._arguments import image_size
from cnnzoo.model._network import Network

# Few programs describe a network: what does it is imported with its first use.
if TYPE_CHECKING:
    from cnnzoo.diagram import Diagram, Level, Theme
    from cnnzoo.summary import Summary


class Describing(Network):
    """A network that describes itself."""

    def summary(self, x_shape: Sequence[int] | None = None) -> Summary:
        """Tabulate every node and part: shape, parameters, multiply-adds, memory, receptive field.

        Args:
            x_shape: (N, C, H, W) or (H, W) of the images; the network's own size if not given.

        Raises:
            ArgumentError: `x_shape` is no such shape.
            ShapeError: The images are too small for the network, or of other channels.
        """
        from cnnzoo.summary import Summary

        graph = self.graph
        height, width = image_size(x_shape, graph.input_shape)
        trained = None if self.device == "meta" else self._engine.trained()
        return Summary(graph, height, width, trained=trained)

    def diagram(
        self,
        *,
        level: Level = "block",
        x_shape: Sequence[int] | None = None,
        part: str | None = None,
        theme: Theme = "auto",
    ) -> Diagram:
        """Draw the network, which is not run; in a notebook the diagram shows itself.

        At block level, equal blocks in a row are one box, and each sort of block is drawn once more
        with its inside: layers with their norms and activations. With `part`, the picture is that
        inside alone: an Inception module, a residual block, a dense block, an encoder block.

        Args:
            level: `"block"` for an overview, `"node"` for every node.
            x_shape: (N, C, H, W) or (H, W) of the images; the network's own size if not given.
            part: The name of a stage, block or other part, of which the inside is drawn.
            theme: The page that the colours are for: `"light"`, `"dark"`, or `"auto"`, by the
                setting of whoever looks at it.

        Raises:
            ArgumentError: An option is invalid, or the network has no such part.
            ShapeError: The images are too small for the network, or of other channels.
        """
        from cnnzoo.diagram import draw

        return draw(self.graph, level=level, x_shape=x_shape, part=part, theme=theme)
