"""Graphs that nobody would train: any node reads any earlier ones, and parts are anywhere."""

from __future__ import annotations

import random

import cnnzoo as cz

# The kinds of parts at each depth.
KINDS = (("stage", "stem", "block"), ("block",), ("gate",))
# How deep each kind of part is.
DEPTHS = {"stage": 1, "stem": 1, "block": 2, "gate": 3}
ONE = ("activation", "batch_norm", "dropout", "pool")


class _Writer:
    """Writes the lines of a graph."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.names = ["input"]
        self.lines = ["graph any", "input = input() channels=2 height=4 width=4"]
        self.parts = 0

    def node(self) -> None:
        near = self.names[-6:]
        reads = self.draw.sample(near, min(self.draw.choice((1, 1, 2, 2, 3)), len(near)))
        op = self.draw.choice(ONE if len(reads) == 1 else ("add", "average"))
        fields = " kernel=3 padding=1" if op == "pool" else ""
        self._add(f"{op}({', '.join(reads)}){fields}")

    def concat(self) -> None:
        """Channels of the latest nodes in their order, as dense layers read them."""
        near = self.names[-6:]
        reads = sorted(self.draw.sample(near, min(self.draw.choice((2, 3)), len(near))))
        self._add(f"concat({', '.join(reads)})")
        joined = self.names.pop()
        self._add(f"conv({joined}) out=2")

    def _add(self, operation: str) -> None:
        name = f"n{len(self.lines)}"
        self.lines.append(f"{name} = {operation}")
        self.names.append(name)

    def run(self, depth: int, count: int) -> None:
        while count > 0:
            chance = self.draw.random()
            if depth < len(KINDS) and chance < 0.25:
                kind = self.draw.choice(KINDS[depth])
                few = self.draw.randint(1, 6)
                self.parts += 1
                self.lines.append(f"{kind} p{self.parts} {{")
                self.run(DEPTHS[kind], few)
                self.lines.append("}")
                count -= few
            elif chance < 0.4:
                self.concat()
                count -= 2
            else:
                self.node()
                count -= 1


def random_graph(seed: int) -> cz.Graph:
    """A graph of 4 to 44 nodes."""
    writer = _Writer(seed)
    writer.run(0, 4 + seed % 40)
    return cz.Graph.parse("\n".join([*writer.lines, f"output {writer.names[-1]}"]))
