"""Diagrams: every node and every edge is drawn, no boxes overlap, and no text is too wide."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import cnnzoo as cz
import drawn
from cnnzoo.diagram import Level
from drawn import Picture, extent, overlap, picture, within
from random_graphs import random_graph

ROOT = Path(__file__).parents[2]
LEVELS: tuple[Level, ...] = ("block", "node")

# Of each family, and of each sort of wiring.
SOME = [
    "alexnet",
    "vgg11_bn",
    "googlenet",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "resnet50",
    "resnet20",
    "plain20",
    "resnext50_32x4d",
    "resnet50d",
    "seresnet50",
    "resnetv2_50",
    "densenet121",
    "densenetblur121d",
    "densenet_bc100",
    "squeezenet1_0",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v4_hybrid_medium",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "vit_b_16",
    "deit_tiny_distilled_16",
    "xception",
    "xception41p",
]
OTHERS = sorted(set(cz.list_models()) - set(SOME))
every_network = pytest.mark.parametrize(
    "name", [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)


def graph_of(name: str) -> cz.Graph:
    return cz.create_model(name, meta=True).graph


def check(graph: cz.Graph, shown: Picture) -> None:
    """Everything that holds of each picture of a whole network."""
    every_node_is_in_one_box(graph, shown)
    drawn_edges_are_those_of_the_graph(graph, shown)
    nothing_overlaps(shown)
    no_wire_crosses_a_box(shown)
    texts_fit(shown)


def every_node_is_in_one_box(graph: cz.Graph, shown: Picture) -> None:
    nodes = Counter(node for box in shown.boxes for node in box.nodes)
    assert nodes == Counter(graph.nodes())


def drawn_edges_are_those_of_the_graph(graph: cz.Graph, shown: Picture) -> None:
    """Each box reads those from which a wire comes, if need be past places without a box."""
    box = {node: one.id for one in shown.boxes for node in one.nodes}
    expected: dict[str, set[str]] = {one.id: set() for one in shown.boxes if one.nodes}
    for name, _, inputs, _ in graph.operations():
        if name in box:
            expected[box[name]] |= {box[read] for read in inputs if read in box} - {box[name]}
    found: dict[str, set[str]] = {one: set() for one in expected}
    comes_from: dict[str, set[str]] = {}
    # The wires into and out of the picture of a part have one box.
    for wire in (wire for wire in shown.wires if wire.source and wire.target):
        comes_from.setdefault(wire.target, set()).add(wire.source)
    for one, sources in found.items():
        ahead, met = [one], {one}
        while ahead:
            for source in comes_from.get(ahead.pop(), set()) - met:
                met.add(source)
                if source in expected:
                    sources.add(source)
                else:
                    ahead.append(source)
    place = {one.id: one.place for one in shown.boxes}
    for one, sources in expected.items():
        for source in sources - found[one]:
            # From the last box of a repeated frame to its first, in the next round.
            assert place[source][1] > place[one][1]
            assert any(within(place[source], r) and within(place[one], r) for r in shown.repeats)
        assert found[one] <= sources


def nothing_overlaps(shown: Picture) -> None:
    width, height = shown.size
    everything = [*shown.boxes, *shown.insides]
    rows: dict[int, list[drawn.Box]] = {}
    for box in everything:
        assert within(box.place, (0.0, 0.0, width, height))
        for row in range(int(box.place[1]) // 100, int(box.place[3]) // 100 + 1):
            rows.setdefault(row, []).append(box)
    for near in rows.values():
        for one, other in itertools.combinations(near, 2):
            assert not overlap(one.place, other.place), (one, other)


def no_wire_crosses_a_box(shown: Picture) -> None:
    for boxes, wires in ((shown.boxes, shown.wires), (shown.insides, shown.inner_wires)):
        for wire in wires:
            for (x, y), (to_x, to_y) in itertools.pairwise(wire.points):
                line = min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y)
                # A line has no area: give it some, but none at its ends.
                line = line[0] - 0.5, line[1] + 0.5, line[2] + 0.5, line[3] - 0.5
                if y == to_y:
                    line = min(x, to_x) + 0.5, y - 0.5, max(x, to_x) - 0.5, y + 0.5
                for box in boxes:
                    assert not overlap(line, box.place), (wire, box)


def texts_fit(shown: Picture) -> None:
    """Texts are inside their boxes, beside each other, and on the page."""
    page = 0.0, 0.0, *shown.size
    for box in (*shown.boxes, *shown.insides):
        extents = [extent(text) for text in box.texts]
        assert all(within(one, box.place) for one in extents), box.words
        pairs = itertools.combinations(extents, 2)
        assert not any(overlap(one, other) for one, other in pairs), box.words
    assert all(within(extent(text), page) for text in shown.texts())


@every_network
@pytest.mark.parametrize("level", LEVELS)
def test_a_network_is_drawn_whole(name: str, level: Any) -> None:
    graph = graph_of(name)
    check(graph, picture(graph.diagram(level=level).svg))


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "googlenet", "mobilenet_v3_large"])
@pytest.mark.parametrize("level", LEVELS)
def test_each_part_is_drawn(name: str, level: Any) -> None:
    graph = graph_of(name)
    nodes = graph.nodes()
    for _, part, first, end in graph.parts():
        shown = picture(graph.diagram(level=level, part=part).svg)
        held = next((a, b) for _, other, a, b in graph.parts() if other == part)
        if held == (first, end):
            drawn_nodes = Counter(node for box in shown.boxes for node in box.nodes)
            assert drawn_nodes == Counter(nodes[first:end])
        drawn_edges_are_those_of_the_graph(graph, shown)
        nothing_overlaps(shown)
        no_wire_crosses_a_box(shown)
        texts_fit(shown)


def symbols(shown: Picture) -> Counter[str]:
    return Counter(box.words[0] for box in shown.boxes if len(box.words[0]) == 1)


def titles(shown: Picture) -> list[str]:
    """The bold lines of boxes."""
    return [
        text.text or "" for box in shown.boxes for text in box.texts if "font-weight" in text.attrib
    ]


def test_an_inception_module_is_four_branches_into_a_concatenation() -> None:
    shown = picture(cz.create_model("googlenet", meta=True).diagram(part="inception3a").svg)
    assert Counter(titles(shown)) == {
        "1×1 conv, 64": 1,
        "1×1 conv, 96": 1,
        "3×3 conv, 128": 1,
        "1×1 conv, 16": 1,
        "3×3 conv, 32": 1,
        "3×3 max pool": 1,
        "1×1 conv, 32": 1,
    }
    [bar] = [box for box in shown.boxes if box.words == ["concatenate: 256×28×28"]]
    into = [wire for wire in shown.wires if wire.target == bar.id]
    assert len(into) == len({wire.points[0][0] for wire in into}) == 4


def test_a_bottleneck_has_a_shortcut_past_three_convolutions() -> None:
    shown = picture(cz.create_model("resnet50", meta=True).diagram(part="layer1.1").svg)
    assert titles(shown) == ["1×1 conv, 64", "3×3 conv, 64", "1×1 conv, 256", "+", "ReLU"]
    [total] = [box for box in shown.boxes if box.words == ["+"]]
    assert len([wire for wire in shown.wires if wire.target == total.id]) == 2


def test_an_encoder_block_has_attention_and_an_mlp_each_with_a_shortcut() -> None:
    shown = picture(
        cz.create_model("vit_b_16", meta=True).diagram(part="encoder.layers.encoder_layer_3").svg
    )
    assert titles(shown) == [
        "layer norm",
        "self-attention, 12 heads",
        "+",
        "layer norm",
        "linear, 3072",
        "linear, 768",
        "+",
    ]


def test_a_dense_block_collects_the_features_of_its_layers() -> None:
    """Without a wire from each layer to each later one."""
    whole = cz.create_model("densenet121", meta=True)
    shown = picture(whole.diagram(level="node", part="stage3").svg)
    assert symbols(shown) == {"C": 23}
    assert len(shown.wires) < 24 * 12
    words = picture(whole.diagram().svg).words()
    assert "×24: 256 + 24 · 32 = 1024 channels" in words and "denselayer1 – 24" in words


def test_layers_that_read_collected_features_do_not_concatenate_them_again() -> None:
    """A dense block of a graph of one's own, whose layers are no parts."""
    lines = ["graph dense", "x = input() channels=4 height=8 width=8", "a = conv(x) out=2"]
    lines += ["two = concat(x, a)", "normed = batch_norm(two)", "b = conv(normed) out=2"]
    lines += ["three = concat(x, a, b)", "normed3 = batch_norm(three)", "c = conv(normed3) out=2"]
    lines += ["all = concat(x, a, b, c)", "output all"]
    shown = picture(cz.Model.from_graph(cz.Graph.parse("\n".join(lines))).diagram().svg)
    assert symbols(shown) == {"C": 2}
    words = [box.words for box in shown.boxes if "1×1 conv, 2" in box.words]
    assert [line[0] for line in words] == ["1×1 conv, 2", "BN", "BN"]


def test_equal_blocks_in_a_row_are_one_box() -> None:
    shown = picture(cz.create_model("vit_b_16", meta=True).diagram().svg)
    [blocks] = [box for box in shown.boxes if box.kind.startswith("block")]
    assert len(blocks.nodes) == 12 * 10 and "×12" in blocks.words
    shown = picture(cz.create_model("resnet50", meta=True).diagram().svg)
    counts = [len(box.nodes) for box in shown.boxes if box.kind.startswith("block")]
    assert counts == [12, 2 * 10, 12, 3 * 10, 12, 5 * 10, 12, 2 * 10]


def test_two_blocks_that_alternate_are_in_a_frame_with_their_number() -> None:
    lines, last = ["graph alternating", "x = input() channels=4 height=8 width=8"], "x"
    for node in (f"{name}{number}" for number in range(3) for name in ("wide", "narrow")):
        kernel = "kernel=3 padding=1" if "wide" in node else "kernel=1"
        lines += [f"block {node} {{", f"{node}.conv1 = conv({last}) out=4 {kernel}"]
        lines += [f"{node}.conv2 = conv({node}.conv1) out=4", "}"]
        last = f"{node}.conv2"
    lines.append(f"output {last}")
    shown = picture(cz.Graph.parse("\n".join(lines)).diagram().svg)
    assert {"×3", "×3: 3 times in a row"} <= set(shown.words())


def test_local_response_normalisation_has_its_name() -> None:
    model = cz.create_model("alexnet_2012", meta=True)
    check(model.graph, shown := picture(model.diagram().svg))
    assert "local response norm" in shown.words()
    assert any("LRN" in words for words in shown.words()) and "lrn" not in shown.words()


def test_auxiliary_classifiers_are_drawn_beside_the_network() -> None:
    shown = picture(cz.create_model("googlenet", meta=True).diagram().svg)
    aux = [box for box in shown.boxes if box.kind == "auxiliary"]
    assert sorted(box.words[0] for box in aux) == ["aux1", "aux2"]
    assert all("auxiliary, in training only" in box.words for box in aux)
    # An image for which they are too small has no shapes of theirs.
    model = cz.create_model("inception_v3", meta=True)
    small = picture(model.diagram(x_shape=(75, 75)).svg)
    [only] = [box for box in small.boxes if box.kind == "auxiliary"]
    assert only.words[-1] == "auxiliary, in training only"


def turns_of(name: str) -> list[tuple[str, str]]:
    """The operations before and after each wire to the next column, at node level."""
    model = cz.create_model(name, meta=True)
    shown = picture(model.diagram(level="node").svg)
    ops = {row.name: row.op for row in model.summary()}
    boxes = {box.id: box for box in shown.boxes if box.nodes}
    pairs = [
        (boxes[wire.source], boxes[wire.target])
        for wire in shown.wires
        if wire.source in boxes and wire.target in boxes
    ]
    # A wire to the next column ends higher than it begins.
    return [
        (ops[one.nodes[-1]], ops[other.nodes[0]])
        for one, other in pairs
        if other.place[1] < one.place[1] and other.place[0] > one.place[2]
    ]


def test_an_auxiliary_classifier_says_so_at_both_levels() -> None:
    graph = cz.create_model("inception_v3", aux=True, meta=True).graph
    assert "auxiliary, in training only" in picture(graph.diagram().svg).words()
    words = picture(graph.diagram(level="node").svg).words()
    assert "AuxLogits · auxiliary, in training only" in words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50", ["3×224×224: channels, height, width", "/2: stride 2", "BN: batch norm"]),
        ("resnet50", ["×2: 2 equal blocks in a row"]),
        ("vit_b_16", ["1×768: tokens, numbers of each", "/16: stride 16"]),
        ("vit_b_16", ["×12: 12 equal blocks in a row"]),
        ("densenet121", ["×6: 6 layers in a row, each adds 32 channels"]),
    ],
)
def test_the_legend_explains_abbreviations_by_examples_of_the_picture(
    name: str, said: list[str]
) -> None:
    words = picture(graph_of(name).diagram().svg).words()
    for entry in said:
        assert entry in words
        example = entry.partition(":")[0]
        assert any(example in word for word in words if word != entry)
    assert not any(
        "tokens, numbers" in word for word in picture(graph_of("vgg11").diagram().svg).words()
    )


def test_a_column_does_not_begin_with_a_norm_or_an_activation() -> None:
    names = ("efficientnet_b0", "efficientnet_b3", "vgg16_bn", "mobilenet_v1", "squeezenet1_0")
    turns = [turn for name in names for turn in turns_of(name)]
    assert len(turns) >= len(names)
    assert not {after for _, after in turns} & {"batch_norm", "activation"}


def test_shapes_are_those_of_the_images() -> None:
    model = cz.create_model("resnet18", num_classes=7, meta=True)
    large = model.diagram(level="node", x_shape=(2, 3, 64, 96))
    assert large.x_shape == (3, 64, 96)
    shapes = {"×".join(map(str, row.shape)) for row in model.summary((64, 96))}
    assert shapes <= set(picture(large.svg).words())


ODD = """graph odd_{name}
input = input() channels=3 height=8 width=8
{long} = conv(input) out=4 kernel=3 padding=1
Grüße_größer = conv({long}) out=4 kernel=[1,3] padding=[0,1] dilation=1
sum = add({long}, Grüße_größer)
unused = activation(sum) function=tanh
fc = flatten(sum)
output fc
"""


def test_odd_names_are_escaped_and_shortened() -> None:
    text = ODD.format(name="x", long="a" * 300).replace("Grüße_größer", "b" * 90)
    graph = cz.Graph.parse(text)
    for level in LEVELS:
        shown = picture(graph.diagram(level=level).svg)
        check(graph, shown)
        assert all(len(word) < 100 for word in shown.words())


def test_a_name_with_markup_is_text() -> None:
    for odd in ("<script>alert(1)</script>", 'a"b', "a&amp;b", "日本語", "]]>"):
        try:
            graph = cz.Graph.parse(
                f"graph {odd}\ninput = input()\nout = flatten(input)\noutput out"
            )
        except cz.GraphError:
            continue
        diagram = graph.diagram()
        assert odd in picture(diagram.svg).words()
        assert "<script" not in diagram.svg
        dot = diagram.to_dot()
        assert dot.splitlines()[0].count('"') - dot.splitlines()[0].count('\\"') == 2


@pytest.mark.parametrize("seed", range(0, 400, 4))
def test_any_graph_is_drawn_whole(seed: int) -> None:
    graph = random_graph(seed)
    for level in LEVELS:
        check(graph, picture(graph.diagram(level=level).svg))


@pytest.mark.parametrize("lengths", [(9, 1, 9, 1), (1, 9, 1, 9), (20, 12, 6, 1), (3, 3, 3, 3)])
def test_what_leads_nowhere_hangs_beside_the_network(lengths: tuple[int, ...]) -> None:
    """Branches that would reach each other stand in columns of their own."""
    lines = ["graph hangs", "input = input() channels=2 height=4 width=4"]
    for at, length in enumerate(lengths):
        lines.append(f"main{at} = activation({f'main{at - 1}' if at else 'input'})")
        names = [f"main{at}", *(f"hang{at}_{k}" for k in range(length))]
        lines += [f"{new} = activation({old})" for old, new in itertools.pairwise(names)]
    graph = cz.Graph.parse("\n".join([*lines, f"output main{len(lengths) - 1}"]))
    for level in LEVELS:
        check(graph, picture(graph.diagram(level=level).svg))


def test_a_long_and_a_deep_graph_are_drawn() -> None:
    lines = ["graph long", "input = input() channels=2 height=4 width=4"]
    lines += [f"n{k} = activation({f'n{k - 1}' if k else 'input'})" for k in range(3000)]
    deep = ["graph deep", "input = input() channels=2 height=4 width=4"]
    deep += [f"n{k} = activation({f'n{k - 1}' if k else 'input'})" for k in range(400)]
    deep += [f"m{k} = add(n{399 - k - 1}, {f'm{k - 1}' if k else 'n399'})" for k in range(398)]
    for text in ([*lines, "output n2999"], [*deep, "output m397"]):
        graph = cz.Graph.parse("\n".join(text))
        for level in LEVELS:
            shown = picture(graph.diagram(level=level).svg)
            every_node_is_in_one_box(graph, shown)
            drawn_edges_are_those_of_the_graph(graph, shown)


# Contrast, as the Web Content Accessibility Guidelines define it.


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rules(svg: str) -> dict[str, dict[str, str]]:
    """The rules of a style sheet by their selectors."""
    sheet = re.search("<style>(.*?)</style>", svg)
    assert sheet is not None
    found = re.findall(r"\.cnnzoo-diagram\S* \.([\w.]+)\{([^}]*)\}", sheet[1])
    return {name: dict(re.findall(r"([\w-]+):([^;]+)", rule)) for name, rule in found}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_legible_on_every_box(theme: Any) -> None:
    """A contrast of 4.5 is what the guidelines ask for."""
    style = rules(cz.create_model("resnet20", meta=True).diagram(theme=theme).svg)
    filled = {name: rule["fill"] for name, rule in style.items() if {"fill", "stroke"} <= set(rule)}
    boxes = {name: fill for name, fill in filled.items() if fill != "none"}
    assert len(boxes) > 20
    for name, fill in {**boxes, "paper": style["paper"]["fill"]}.items():
        for tone in ("ink", "muted", "title"):
            assert contrast(style[tone]["fill"], fill) >= 4.5, (name, tone)
    for number in range(8):
        assert contrast(style["badge"]["fill"], style[f"mark.c{number}"]["fill"]) >= 4.5


def test_a_diagram_follows_the_page_unless_told() -> None:
    model = cz.create_model("resnet20", meta=True)
    both, light, dark = (model.diagram(theme=theme).svg for theme in ("auto", "light", "dark"))
    assert "prefers-color-scheme:dark" in both
    assert "prefers-color-scheme" not in light + dark
    # Two pictures on one page keep their own colours.
    selectors = {re.findall(r"<style>(\.[\w-]+)", svg)[0] for svg in (both, light, dark)}
    assert len(selectors) == 3


def test_a_diagram_says_what_it_is() -> None:
    model = cz.create_model("vit_ti_16", meta=True)
    diagram = model.diagram()
    root = picture(diagram.svg).root
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{drawn.SVG}title") == "vit_ti_16"
    assert "5.72M parameters" in (root.findtext(f"{drawn.SVG}desc") or "")
    assert (
        repr(diagram) == "<Diagram of vit_ti_16 on 3×224×224, block level; .save('vit_ti_16.svg')>"
    )
    assert diagram._repr_svg_() == diagram.svg == model.graph._repr_svg_()
    assert diagram == model.graph.diagram() and len({diagram, model.graph.diagram()}) == 1


def test_it_is_written_as_svg_and_for_graphviz(tmp_path: Path) -> None:
    diagram = cz.create_model("resnet20", meta=True).diagram()
    diagram.save(tmp_path / "a.svg")
    diagram.save(tmp_path / "a.dot")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == diagram.svg + "\n"
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == diagram.to_dot() + "\n"
    with pytest.raises(cz.ArgumentError, match=r"a\.png: expected a name that ends in \.svg"):
        diagram.save(tmp_path / "a.png")


def test_the_pictures_of_the_documents_are_drawn_by_this_version() -> None:
    check = [sys.executable, str(ROOT / "tools" / "diagrams.py"), "--check"]
    subprocess.run(check, check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ["resnet20", "densenet_bc100", "deit_tiny_distilled_16"])
def test_graphviz_gets_every_node_edge_and_part(name: str) -> None:
    graph = graph_of(name)
    dot = graph.diagram().to_dot()
    nodes = re.findall(r'^\s*"([^"]+)" \[label=', dot, re.MULTILINE)
    edges = re.findall(r'^\s*"([^"]+)" -> "([^"]+)";', dot, re.MULTILINE)
    assert nodes == graph.nodes()
    expected = {(read, name) for name, _, inputs, _ in graph.operations() for read in inputs}
    assert set(edges) == expected and len(edges) == len(expected)
    clusters = re.findall(r'subgraph (\w+) \{ label="([^"]+)"', dot)
    assert [name for _, name in clusters] == [name for _, name, _, _ in graph.parts()]
    assert len({cluster for cluster, _ in clusters}) == len(clusters)
    assert dot.count("{") == dot.count("}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "layer"}, "`level`: expected one of block, node, got 'layer'"),
        ({"level": None}, "`level`: expected one of block, node, got None"),
        ({"theme": "blue"}, "`theme`: expected one of auto, light, dark, got 'blue'"),
        ({"part": "layer9"}, "`part` of resnet20: expected one of the 16 parts, such as layer"),
        ({"part": 3}, "`part`: expected the name of a part, got 3"),
        ({"part": "\ud800"}, "`part`"),
        ({"x_shape": 32}, r"`x_shape`: expected \(N, C, H, W\) or \(H, W\), got 32"),
        ({"x_shape": (32,)}, r"`x_shape`: expected \(N, C, H, W\)"),
        ({"x_shape": (32, 1.5)}, "`x_shape`: width: expected a whole number"),
        ({"x_shape": "ab"}, "`x_shape`: expected"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    model = cz.create_model("resnet20", meta=True)
    for draw in (model.diagram, model.graph.diagram):
        with pytest.raises((cz.ArgumentError, TypeError, UnicodeEncodeError), match=message):
            draw(**options)


def test_an_image_that_is_too_small_is_refused_and_a_huge_one_drawn() -> None:
    model = cz.create_model("vgg11", meta=True)
    for size in (0, 31):
        with pytest.raises(cz.ShapeError, match=f"image {size}×{size}"):
            model.diagram(x_shape=(size, size))
    side = 2**40
    shown = picture(model.diagram(x_shape=(side, side)).svg)
    assert f"3×{side}×{side}" in shown.words()
    texts_fit(shown)


def test_a_graph_without_parts_has_none_to_draw() -> None:
    graph = cz.Graph.parse("graph plain\ninput = input()\nout = flatten(input)\noutput out")
    with pytest.raises(cz.ArgumentError, match="expected none, since the graph has no parts"):
        graph.diagram(part="stem")
