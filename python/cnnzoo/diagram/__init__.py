"""Diagrams of networks: SVG pictures and Graphviz files, drawn from the graph alone."""

from __future__ import annotations

from cnnzoo.diagram._colours import Theme
from cnnzoo.diagram._diagram import Diagram, draw
from cnnzoo.diagram._items import Level

__all__ = ["Diagram", "Level", "Theme", "draw"]
