"""Grad-CAM and Grad-CAM++, beside their formulas on the gradients of PyTorch's autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import cnnzoo as cz
from explain.subjects import (
    CAT,
    COFFEE,
    ESPRESSO,
    TABBY,
    TIGER_CAT,
    Doubles,
    stretched,
    trained,
    trained_twin,
    transformer,
    transformer_twin,
    value_and_gradient,
)
from reference import Edition, TorchReference, pair, smallest
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference


def cam(value: Doubles, gradient: Doubles) -> Doubles:
    """Equations 1 and 2 of the paper, before what is negative is cut."""
    alpha = gradient.mean((1, 2))
    found: Doubles = (alpha[:, None, None] * value).sum(0)
    return found


def cam_plus_plus(value: Doubles, gradient: Doubles) -> Doubles:
    """Equations 5 and 19 of the paper, literally: of a score that is the exponential of a logit."""
    square, cube = gradient**2, gradient**3
    divisor = 2 * square + value.sum((1, 2), keepdims=True) * cube
    alpha = np.where(square > 0, square / np.where(divisor == 0, 1, divisor), 0)
    weights = (alpha * np.maximum(gradient, 0)).sum((1, 2))
    found: Doubles = (weights[:, None, None] * value).sum(0)
    return found


METHODS: dict[str, tuple[Any, Any]] = {
    "Grad-CAM": (cz.explain.grad_cam, cam),
    "Grad-CAM++": (cz.explain.grad_cam_plus_plus, cam_plus_plus),
}


def check(heatmap: cz.explain.Heatmap, expected: Doubles) -> None:
    assert difference(heatmap.raw, expected) <= ROUNDING
    assert heatmap.values.dtype == heatmap.raw.dtype == np.float32
    assert heatmap.values.min() == 0 and heatmap.values.max() == 1
    shape = heatmap.values.shape
    assert difference(heatmap.values, stretched(np.maximum(expected, 0), shape)) <= ROUNDING


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [None, TABBY, ESPRESSO])
@pytest.mark.parametrize("node", [None, "blocks.3", "blocks.0.0.conv_dw"])
def test_maps_of_a_trained_network_are_those_of_the_formula(
    method: str, target: int | None, node: str | None
) -> None:
    model, module = trained(), trained_twin()
    ours, formula = METHODS[method]
    heatmap = ours(model, CAT, target=target, node=node)
    # timm's norm holds the activation after it.
    layer = module.get_submodule("bn2" if node is None else node)
    x = model.preprocess(CAT)
    asked = int(model(x).argmax()) if target is None else target
    check(heatmap, formula(*value_and_gradient(module, layer, x, asked)))
    assert heatmap.method == method
    assert (heatmap.target, heatmap.label) == (asked, model.labels[asked])
    assert heatmap.prediction is not None
    assert heatmap.prediction[:5] == model.predict(CAT)
    assert heatmap.values.shape == (224, 224)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("edition", "last"),
    [
        (Edition("resnet18", "torchvision", "resnet18"), "layer4"),
        (Edition("vgg11_bn", "torchvision", "vgg11_bn"), "avgpool"),
        (Edition("mobilenet_v3_small", "torchvision", "mobilenet_v3_small"), "features"),
        (Edition("googlenet", "torchvision", "googlenet"), "inception5b"),
    ],
    ids=str,
)
def test_the_usual_node_is_the_last_image_before_its_pooling(
    method: str, edition: Edition, last: str
) -> None:
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    ours, formula = METHODS[method]
    heatmap = ours(model, CAT)
    module: Any = reference.module.eval()
    layer, x = module.get_submodule(last), model.preprocess(CAT)
    target = int(model(x).argmax())
    check(heatmap, formula(*value_and_gradient(module, layer, x, target)))
    assert heatmap.node == model.graph.focus()


# Random parameters may leave nothing that speaks for a class; what speaks against it is compared.
@pytest.mark.filterwarnings("ignore:.*so the heatmap is empty:cnnzoo.errors.Notice")
@pytest.mark.parametrize("edition", smallest(), ids=str)
def test_every_family_has_maps_at_the_names_of_its_nodes(edition: Edition) -> None:
    """At the convolution in the middle of the network, beside the layer of the same name."""
    fixed = edition.info.fixed_image_size
    side = edition.info.input_size if fixed else 96
    model, reference = pair(edition, image_size=side if fixed else None)
    assert isinstance(reference, TorchReference)
    model.preprocess = model.preprocess.resized(side)
    module: Any = reference.module.eval()
    layers = dict(module.named_modules())
    names = [
        row.name
        for row in model.summary((side, side))
        if row.op == "conv" and row.name in layers and row.shape[1] > 1
    ]
    name = names[len(names) // 2]
    heatmap = cz.explain.grad_cam(model, CAT, target=3, node=name)
    expected = cam(*value_and_gradient(module, layers[name], model.preprocess(CAT), 3))
    assert difference(heatmap.raw, expected) <= ROUNDING_OF_GRADIENTS
    assert heatmap.node == name and heatmap.values.shape == (side, side)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "googlenet", "efficientnet_b0", "xception", "inception_v3"]
)
def test_the_mean_over_the_places_of_the_usual_node_is_the_embedding(name: str) -> None:
    model = cz.create_model(name, num_classes=2)
    x = model.preprocess(CAT)
    node = model.graph.focus()
    assert node is not None
    value = model.features(x, node)[node]
    assert value.shape[2] > 1
    assert difference(value.mean((2, 3)), model.embed(x)) <= ROUNDING


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("node", [None, "blocks.4", "patch_embed.proj"])
def test_the_tokens_of_patches_are_an_image(method: str, node: str | None) -> None:
    """Those that the last attention reads, since after it only the class token counts."""
    model, module = transformer(), transformer_twin()
    ours, formula = METHODS[method]
    heatmap = ours(model, CAT, target=3, node=node)
    layer = module.get_submodule("blocks.11.norm1" if node is None else node)
    value, gradient = value_and_gradient(module, layer, model.preprocess(CAT), 3)
    if value.ndim == 2:
        value, gradient = (of[1:].T.reshape(-1, 6, 6) for of in (value, gradient))
    check(heatmap, formula(value, gradient))
    assert heatmap.raw.shape == (6, 6) and heatmap.values.shape == (96, 96)
    assert heatmap.node == ("blocks.11.norm1" if node is None else model.graph.find(node))


def test_a_map_that_must_be_empty_comes_with_a_notice() -> None:
    """Behind the last attention, no patch has a share in the logits."""
    with pytest.warns(cz.Notice, match="does not depend on any place of node `norm`"):
        heatmap = cz.explain.grad_cam(transformer(), CAT, target=3, node="norm")
    assert not heatmap.values.any() and not heatmap.raw.any()


def test_classes_have_maps_of_their_own_where_they_are_in_the_photograph() -> None:
    """The half with the cup speaks for espresso, and its half of a picture of two."""
    model = trained()
    with_cat, with_coffee = (model.preprocess._engine.crop for _ in range(2))
    assert with_cat == with_coffee
    pillow = pytest.importorskip("PIL.Image")
    cat = np.asarray(pillow.open(CAT).convert("RGB").resize((260, 260)))
    cup = np.asarray(pillow.open(COFFEE).convert("RGB").resize((260, 260)))
    both = np.concatenate([cat, cup], 0)[130:390]
    upper, lower = slice(0, 112), slice(112, 224)
    feline = cz.explain.grad_cam(model, both, target=TIGER_CAT).values
    coffee = cz.explain.grad_cam(model, both, target=ESPRESSO).values
    assert feline[upper].mean() > 2 * feline[lower].mean()
    assert coffee[lower].mean() > 2 * coffee[upper].mean()


def test_a_class_is_named_by_number_or_label() -> None:
    model = trained()
    by_number = cz.explain.grad_cam(model, CAT, target=np.int64(TIGER_CAT))
    by_label = cz.explain.grad_cam(model, CAT, target="tiger cat")
    np.testing.assert_array_equal(by_number.values, by_label.values)
    assert by_label.target == TIGER_CAT
    with pytest.raises(cz.ArgumentError, match=r"by number or label.*similar are tiger cat"):
        cz.explain.grad_cam(model, CAT, target="tigercat")
    twin = model.copy()
    twin.labels = ("crane" if index in {134, 517} else str(index) for index in range(1000))
    assert cz.explain.grad_cam(twin, CAT, target="7").target == 7
    with pytest.raises(cz.ArgumentError, match="classes 134, 517 are all crane"):
        cz.explain.grad_cam(twin, CAT, target="crane")


def test_a_class_that_is_not_predicted_has_its_probability_too() -> None:
    model = trained()
    logits = model(model.preprocess(CAT)).astype(np.float64)[0]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    heatmap = cz.explain.grad_cam(model, CAT, target=ESPRESSO)
    assert heatmap.prediction is not None
    assert [one.index for one in heatmap.prediction] == [*np.argsort(-shares)[:5], ESPRESSO]
    assert heatmap.prediction[5].probability == pytest.approx(shares[ESPRESSO])
    title = heatmap.plot(ax=Figure().subplots()).get_title("left")
    assert title == f"espresso · {shares[ESPRESSO]:.1%}" and title in heatmap._repr_html_()
    usual = cz.explain.grad_cam(model, CAT).prediction
    assert usual is not None and len(usual) == 5


def test_every_form_of_a_photograph_is_taken() -> None:
    pillow = pytest.importorskip("PIL.Image")
    model = trained()
    pixels = np.asarray(pillow.open(CAT).convert("RGB"))
    expected = cz.explain.grad_cam(model, CAT)
    forms = [str(CAT), CAT.read_bytes(), pixels, pillow.open(CAT), pixels.astype(np.uint16) << 8]
    with CAT.open("rb") as file:
        for form in [*forms, file]:
            found = cz.explain.grad_cam(model, form)
            np.testing.assert_array_equal(found.values, expected.values)
            np.testing.assert_array_equal(found.photo, expected.photo)


def test_a_network_that_reads_grey_is_explained_too() -> None:
    model = cz.create_model("squeezenet1_1", in_channels=1, num_classes=3, seed=1)
    heatmap = cz.explain.grad_cam(model, CAT, target=0)
    assert heatmap.photo.ndim == 3 and heatmap.values.shape == (224, 224)


def test_a_class_may_be_what_argmax_returns() -> None:
    """An array or tensor without axes, as the models of others return it too."""
    model = cz.create_model("squeezenet1_1", num_classes=5, seed=1)
    expected = cz.explain.grad_cam(model, CAT, target=3)
    for target in (np.int64(3), np.array(3), torch.tensor(3)):
        found = cz.explain.grad_cam(model, CAT, target=target)  # type: ignore[arg-type]
        assert type(found.target) is int
        np.testing.assert_array_equal(found.values, expected.values)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such class": ({"target": 1000}, cz.ArgumentError, "`target`: expected .* to 999, got 1000"),
    "a negative class": ({"target": -1}, cz.ArgumentError, "`target`"),
    "half a class": ({"target": 1.5}, cz.ArgumentError, "`target`"),
    "several classes": ({"target": np.array([1])}, cz.ArgumentError, "`target`: expected a whole"),
    "half a class in a tensor": ({"target": torch.tensor(1.5)}, cz.ArgumentError, "`target`"),
    "a truth": ({"target": True}, cz.ArgumentError, "`target`"),
    "no such node": ({"node": "layer9"}, cz.ArgumentError, "got `layer9`"),
    "a number for a node": ({"node": 3}, cz.ArgumentError, "`node`"),
    "a vector": (
        {"node": "classifier"},
        cz.ArgumentError,
        "`classifier`.*places in the photograph",
    ),
    "no file": ({"image": "nowhere.jpg"}, cz.DataError, "nowhere.jpg"),
    "several": ({"image": [CAT, CAT]}, TypeError, "a photograph: expected a path"),
    "numbers": ({"image": np.zeros((224, 224, 3), np.float32)}, TypeError, "uint8"),
    "NaN": ({"image": np.full((224, 224, 3), np.nan)}, TypeError, "uint8"),
    "an empty array": (
        {"image": np.zeros((0, 4, 3), np.uint8)},
        cz.ShapeError,
        "expected a uint8 array of shape",
    ),
    "a row": ({"image": np.zeros(12, np.uint8)}, cz.ShapeError, "expected a uint8 array of shape"),
    "nothing": ({"image": None}, TypeError, "a photograph"),
    "a word for the model": ({"model": "resnet18"}, cz.ArgumentError, "`model`: expected a cnnzoo"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", METHODS)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong: str, method: str) -> None:
    options, kind, said = WRONG[wrong]
    given = {"model": trained(), "image": CAT} | options
    with pytest.raises(kind, match=said):
        METHODS[method][0](given.pop("model"), given.pop("image"), **given)


def test_networks_that_have_nothing_to_explain_say_so() -> None:
    features = cz.create_model("resnet18", num_classes=0)
    with pytest.raises(cz.ArgumentError, match="no classifier"):
        cz.explain.grad_cam(features, CAT)
    six = cz.create_model("resnet18", in_channels=6, num_classes=2)
    with pytest.raises(cz.ShapeError, match="1 or 3 channels"):
        cz.explain.grad_cam(six, CAT)
    broken = cz.create_model("resnet18", num_classes=2)
    broken.load_state_dict({"fc.bias": np.full(2, np.nan, np.float32)}, strict=False)
    with pytest.raises(cz.DivergenceError, match="finite logits"):
        cz.explain.grad_cam(broken, CAT)
    with pytest.raises(cz.DeviceError):
        cz.explain.grad_cam(cz.create_model("resnet18", meta=True), CAT)
    flat = cz.Graph.parse(
        "graph flat\ninput = input() height=8 width=8\nf = flatten(input)\n"
        "fc = linear(f) out=2\noutput fc"
    )
    # There the photograph itself has places; a vector has none.
    model = cz.Model.from_graph(flat)
    with pytest.raises(cz.ArgumentError, match="no value of the network has places"):
        cz.explain.grad_cam(model, CAT)
    assert cz.explain.grad_cam(model, CAT, node="input").raw.shape == (8, 8)
