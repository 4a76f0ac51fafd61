"""Receptive fields, beside the pixels at which the gradient of a value is not zero."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

import cnnzoo as cz
from explain.subjects import CAT


def smooth(model: cz.Model) -> cz.Model:
    """The same windows without what hides them: averages for maxima, and only positive weights."""
    lines = str(model.graph).splitlines()
    for index, line in enumerate(lines):
        if " = pool(" in line and "kind=" not in line:
            lines[index] += " kind=average"
        elif " = activation(" in line:
            # It is 0 for negative numbers alone.
            lines[index] = line.split(" function=")[0] + " function=relu"
        elif " = gate(" in line:
            # A gate only scales, and counts no pixels of its own.
            lines[index] = line.replace(" = gate(", " = activation(").split(",")[0] + ")"
    # Nobody reads the gates any more.
    ours = cz.Model.from_graph(cz.Graph.parse("\n".join(lines)))
    state = ours.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value[:] = 0
        elif value.dtype == np.float32:
            value[:] = 0.5
    ours.load_state_dict(state)
    return ours


def depends(model: cz.Model, node: str, cell: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rows and columns of the image that change the value of a node at a place."""
    channels, height, width = model.graph.input_shape
    x = np.ones((1, channels, height, width), np.float32)
    cotangent = np.zeros_like(model.features(x, node)[node])
    cotangent[0, :, cell[0], cell[1]] = 1e-3
    found = model.gradients(x, cotangent, output=node).input[0]
    # Products of many small weights underflow nowhere here.
    rows, columns = (np.flatnonzero(np.abs(found).max((0, axis))) for axis in (2, 1))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


NETWORKS = [
    ("resnet18", "torchvision", ["conv1", "maxpool", "layer1", "layer2.0.conv1", "layer3"]),
    ("resnet18", "timm", ["layer2"]),
    ("mobilenet_v2_035", "keras", None),
    ("xception", "keras", None),
    ("googlenet", "torchvision", ["inception3a", "inception4a", "inception4e"]),
    ("densenet121", "torchvision", ["features.transition1"]),
    ("squeezenet1_1", "torchvision", None),
    ("mobilenet_v3_small", "torchvision", None),
    ("tf_efficientnet_lite0", "timm", None),
    ("vit_tiny_patch16_224", "timm", ["patch_embed.proj"]),
]


@pytest.mark.parametrize(("name", "source", "nodes"), NETWORKS)
def test_a_field_is_where_the_gradient_is(name: str, source: str, nodes: list[str] | None) -> None:
    """In the middle, at the border and in a corner, of layers that do not see all."""
    model = cz.create_model(name, source=source, num_classes=2, image_size=224)
    plain = smooth(model)
    graph = plain.graph
    if nodes is None:
        nodes = [row.name for row in plain.summary() if len(row.shape) == 3 and row.shape[1] > 7]
        nodes = nodes[2 :: max(1, len(nodes) // 5)]
    seen = 0
    for node in nodes:
        grid = graph.grid(node, 224, 224)
        assert grid is not None
        _, rows, columns = grid
        for cell in ((rows // 2, columns // 2), (0, columns // 3), (rows - 1, columns - 1)):
            field = cz.explain.receptive_field(model, CAT, node=node, cell=cell)
            assert field.box == depends(plain, node, cell), (node, cell)
            seen += not field.is_whole
        row = next(row for row in model.summary() if row.name == graph.find(node))
        middle = cz.explain.receptive_field(model, CAT, node=node)
        top, bottom, left, right = middle.box
        if row.receptive_field is not None and max(row.receptive_field) < 100:
            assert (bottom - top, right - left) == row.receptive_field
    assert seen > len(nodes)


def test_tokens_see_their_patch_until_they_attend_to_others() -> None:
    model = cz.create_model("vit_tiny_patch16_224", image_size=96, num_classes=2)
    field = cz.explain.receptive_field(model, CAT, node="blocks.0.norm1", cell=(1, 4))
    assert field.box == (16, 32, 64, 80) and field.grid == (6, 6) and not field.is_whole
    for node in ("blocks.0", None):
        field = cz.explain.receptive_field(model, CAT, node=node)
        assert field.is_whole and field.box == (0, 96, 0, 96)
        assert "the whole image" in repr(field)


def test_an_overlay_keeps_colours_in_the_field_alone() -> None:
    model = cz.create_model("resnet18", num_classes=2, meta=True)
    field = cz.explain.receptive_field(model, CAT, node="layer2", cell=(14, 14))
    picture = field.overlay()
    zoom = len(picture) / 224
    top, bottom, left, right = (round(zoom * at) for at in field.box)
    np.testing.assert_array_equal(
        picture[top:bottom, left:right], field.photo[top:bottom, left:right]
    )
    assert (picture[top - 1, left:right] == picture[top - 1, left]).all()
    outside = picture[: top - 10].astype(int)
    assert (np.ptp(outside, axis=2) == 0).all()
    axes = field.plot(ax=Figure().subplots())
    title, (about,) = axes.get_title("left"), (text.get_text() for text in axes.texts)
    assert title == f"{field.node} sees {bottom_of(field)} pixels"
    assert about == "at (14, 14) of 28×28 · resnet18"
    assert "data:image/png" in field._repr_html_()


def bottom_of(field: cz.explain.ReceptiveField) -> str:
    top, bottom, left, right = field.box
    return f"{bottom - top}×{right - left}"


def test_what_has_no_place_is_refused() -> None:
    model = cz.create_model("resnet18", num_classes=2)
    for cell in ((28, 0), (0, -1), (1,), (1, 2, 3), 5, "ab", (1.5, 0), {3, 4}):
        with pytest.raises(cz.ArgumentError, match="`cell`"):
            cz.explain.receptive_field(model, CAT, node="layer2", cell=cell)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="places in the photograph"):
        cz.explain.receptive_field(model, CAT, node="fc")
    with pytest.raises(cz.ArgumentError, match="got `layer8`"):
        cz.explain.receptive_field(model, CAT, node="layer8")
