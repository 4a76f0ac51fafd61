"""Inception networks alone: auxiliary classifiers, and images normalised otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import get_model, get_model_weights
from torchvision.models._api import WeightsEnum

import cnnzoo as cz
from cnnzoo.weights import published as weights_
from reference import Edition, build_module, images, randomise, settle
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# The logits of the auxiliary classifiers, in the order of torchvision's output; what each reads.
HEADS = {
    "googlenet": {"aux2.fc2": "inception4d", "aux1.fc2": "inception4a"},
    "inception_v3": {"AuxLogits.fc": "Mixed_6e"},
}
# How much they count, where not as in GoogLeNet's paper.
WEIGHTS = {"AuxLogits.fc": " weight=0.4"}


def module_of(name: str, **options: Any) -> torch.nn.Module:
    module = build_module(Edition(name, "torchvision", name), **options)
    randomise(module)
    settle(module)
    return module


@pytest.mark.parametrize("name", HEADS)
def test_auxiliary_classifiers_equal_torchvision(name: str) -> None:
    """In evaluation, where torchvision leaves them out: each on what it would read."""
    module = module_of(name).eval()
    model = cz.create_model(name)
    model.load_state_dict(module.state_dict())
    x = images((299, 299), 1)
    for head, before in HEADS[name].items():
        values = model.features(x, [before, head])
        with torch.no_grad():
            theirs = module.get_submodule(head.split(".")[0])(torch.from_numpy(values[before]))
        assert difference(values[head], theirs.numpy()) <= ROUNDING
    assert [f"auxiliary {head}{WEIGHTS.get(head, '')}" for head in sorted(HEADS[name])] == [
        line for line in str(model.graph).splitlines() if line.startswith("auxiliary ")
    ]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("googlenet", "aux1.fc2"),
        ("googlenet", "aux2.fc2"),
        pytest.param("inception_v3", "AuxLogits.fc", marks=pytest.mark.slow),
    ],
)
def test_gradients_of_an_auxiliary_classifier_equal_torchvision(name: str, head: str) -> None:
    theirs = {"dropout_aux": 0.0} if name == "googlenet" else {}
    module = module_of(name, **theirs).train()
    lines = str(cz.create_model(name, meta=True).graph).replace(" rate=0.7", "").splitlines()
    lines = [line for line in lines if not line.startswith(("auxiliary ", "output "))]
    model = cz.Model.from_graph(cz.Graph.parse("\n".join([*lines, f"output {head}"])))
    model.load_state_dict(module.state_dict())
    x = images((299, 299) if name == "inception_v3" else (97, 71), 4)
    logits = module(torch.from_numpy(x))[1 + list(HEADS[name]).index(head)]
    cotangent = np.random.default_rng(1).standard_normal(logits.shape).astype(np.float32)
    logits.backward(torch.from_numpy(cotangent))
    ours, gradients = model.vjp(x, cotangent, training=True)
    assert difference(ours, logits.detach().numpy()) <= ROUNDING
    originals = {k: p.grad.numpy() for k, p in module.named_parameters() if p.grad is not None}
    assert gradients.keys() == originals.keys()
    for key, gradient in originals.items():
        assert difference(gradients[key], gradient) <= ROUNDING_OF_GRADIENTS, key


@pytest.mark.parametrize("name", HEADS)
def test_images_are_normalised_otherwise_as_in_torchvision(name: str) -> None:
    module = module_of(name, transform_input=True).eval()
    model = cz.create_model(name, transform_input=True)
    model.load_state_dict(module.state_dict())
    x = images((97, 107), 2)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x)).numpy()
    assert difference(model(x), theirs) <= ROUNDING
    # It is the other normalisation of the same pictures.
    used = model.preprocess
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (used.mean, used.std))
    plain = cz.create_model(name)
    plain.load_state_dict(module.state_dict())
    assert difference(plain((x * std + mean - 0.5) / 0.5), theirs) <= ROUNDING
    assert difference(plain(x), theirs) > 100 * ROUNDING


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A file in the place of torchvision's published one, for torchvision and for us."""

    def put(name: str) -> Path:
        state = module_of(name).state_dict()
        file = tmp_path / "published.pth"
        torch.save(state, file)
        monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
        monkeypatch.setattr(weights_.Published, "path", lambda _: file)
        return file

    return put


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.filterwarnings("ignore:auxiliary heads in the pretrained")
def test_published_weights_make_the_network_that_torchvision_makes(
    name: str, published: Callable[[str], Path], tmp_path: Path
) -> None:
    published(name)
    theirs = get_model(name, weights=get_model_weights(name).DEFAULT).eval()
    ours = cz.create_model(name, weights="default")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert ours.options["transform_input"] is True
    x = images((97, 107), 1)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    assert difference(ours(x), expected) <= ROUNDING
    ours.save(tmp_path / "saved.safetensors")
    np.testing.assert_array_equal(cz.load(tmp_path / "saved.safetensors")(x), ours(x))
    # What is given counts.
    other = cz.create_model(name, weights="default", transform_input=False, aux=True)
    assert other.options == {"transform_input": False, "aux": True}
    assert other.state_dict().keys() == module_of(name).state_dict().keys()


def test_files_with_and_without_auxiliary_classifiers(published: Callable[[str], Path]) -> None:
    file = published("googlenet")
    trained = torch.load(file, weights_only=True)
    for options in ({"aux": False}, {"num_classes": 0}):
        model = cz.create_model("googlenet", weights=file, **options)
        assert not [key for key in model.state_dict() if key.startswith("aux")]
    five = cz.create_model("googlenet", weights=file, num_classes=5).state_dict()
    assert five["aux1.fc2.weight"].shape == (5, 1024)
    np.testing.assert_array_equal(five["aux1.fc1.weight"], trained["aux1.fc1.weight"].numpy())
    bare = {key: value for key, value in trained.items() if not key.startswith("aux")}
    torch.save(bare, file)
    assert cz.create_model("googlenet", weights=file, aux=False)
    with pytest.raises(cz.WeightsError, match=r"18 missing: `aux1\.conv\.conv\.weight`"):
        cz.create_model("googlenet", weights=file)
    # timm's networks have none, though a file of theirs does.
    torch.save(module_of("inception_v3").state_dict(), file)
    timm = cz.create_model("inception_v3", source="timm", weights=file)
    assert not [key for key in timm.state_dict() if key.startswith("Aux")]
    torch.save({**bare, "auxiliary.weight": torch.zeros(1)}, file)
    with pytest.raises(cz.WeightsError, match=r"1 unexpected: `auxiliary\.weight`"):
        cz.create_model("googlenet", weights=file, aux=False)


@pytest.mark.parametrize("written", [False, True])
def test_a_new_classifier_is_new_in_all_places(written: bool) -> None:
    model = cz.create_model("googlenet", aux=True)
    if written:
        model = cz.Model.from_graph(model.graph)
    before = model.state_dict()
    model.reset_classifier(num_classes=7)
    after = model.state_dict()
    changed = {key for key in before if before[key].shape != after[key].shape}
    assert changed == {
        f"{layer}.{array}"
        for layer in ("fc", "aux1.fc2", "aux2.fc2")
        for array in ("weight", "bias")
    }
    model.reset_classifier(num_classes=0)
    assert not [node for node in model.nodes() if node.startswith(("fc", "aux"))]
    assert model(images((64, 64), 1)).shape == (1, 1024)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"aux": True}, "one of num_classes.*got `aux`"),
        ("googlenet_2014", {"transform_input": True}, "got `transform_input`"),
        ("googlenet", {"aux": 1}, "`aux` of googlenet: expected True or False, got 1"),
        ("googlenet", {"transform_input": True, "in_channels": 1}, "images of 3 channels, got 1"),
        ("inception_v3", {"image_size": 298}, "at least 299, or 75 with aux=False, got 298"),
    ],
)
def test_options_that_cannot_be_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model(name, **options)


def test_small_images_need_no_auxiliary_classifier() -> None:
    model = cz.create_model("inception_v3", image_size=75, aux=False)
    assert model(images((75, 75), 1)).shape == (1, 1000)
    whole = cz.create_model("inception_v3")
    assert whole(images((75, 75), 1)).shape == (1, 1000)
    with pytest.raises(cz.ShapeError, match=r"AuxLogits"):
        whole.vjp(images((298, 298), 2), np.ones((2, 1000), np.float32), training=True)
