"""Options that rewrite a network, against the same change made to the original by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

import cnnzoo as cz
from reference import TorchReference, images, randomise
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

Change = Callable[[nn.Module], nn.Module]


def everywhere(kind: type[nn.Module], change: Change) -> Change:
    """Replaces every module of this kind."""

    def apply(module: nn.Module) -> nn.Module:
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, change(child))
            else:
                apply(child)
        return module

    return apply


def group_norm(norm: Any) -> nn.Module:
    groups = next(g for g in range(32, 0, -1) if norm.num_features % g == 0)
    return nn.GroupNorm(groups, norm.num_features, eps=norm.eps)


def small_resnet(module: Any) -> nn.Module:
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    module.maxpool = nn.Identity()
    return module  # type: ignore[no-any-return]


def small_densenet(module: Any) -> nn.Module:
    module.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    module.features.pool0 = nn.Identity()
    return module  # type: ignore[no-any-return]


def small_mobilenet(module: Any) -> nn.Module:
    module.features[0][0].stride = (1, 1)
    return module  # type: ignore[no-any-return]


def nn_silu(_: nn.Module) -> nn.Module:
    return nn.SiLU()


# Name, options, and the change to torchvision's module.
CHANGES: list[tuple[str, dict[str, Any], Change]] = [
    ("resnet18", {"stem": "small"}, small_resnet),
    ("densenet121", {"stem": "small"}, small_densenet),
    ("mobilenet_v2", {"stem": "small"}, small_mobilenet),
    ("resnet18", {"activation": "gelu"}, everywhere(nn.ReLU, lambda _: nn.GELU())),
    ("resnet50", {"activation": "tanh"}, everywhere(nn.ReLU, lambda _: nn.Tanh())),
    ("alexnet", {"activation": "sigmoid"}, everywhere(nn.ReLU, lambda _: nn.Sigmoid())),
    ("efficientnet_b0", {"activation": "relu"}, everywhere(nn.SiLU, lambda _: nn.ReLU())),
    ("resnet18", {"norm": "group"}, everywhere(nn.BatchNorm2d, group_norm)),
    ("densenet121", {"norm": "group"}, everywhere(nn.BatchNorm2d, group_norm)),
    ("mobilenet_v2", {"norm": "group"}, everywhere(nn.BatchNorm2d, group_norm)),
    (
        "resnet18",
        {"norm": "group", "stem": "small", "activation": "silu"},
        lambda m: everywhere(nn.ReLU, lambda _: nn.SiLU())(
            everywhere(nn.BatchNorm2d, group_norm)(small_resnet(m))
        ),
    ),
]

# For tests that run once for each of them.
for_each_change = pytest.mark.parametrize(
    ("name", "options", "change"),
    CHANGES,
    ids=[f"{name}-{'-'.join(map(str, options.values()))}" for name, options, _ in CHANGES],
)


def changed(name: str, options: dict[str, Any], change: Change) -> tuple[cz.Model, TorchReference]:
    """A network with options, and torchvision's with the same change; both without dropout."""
    rates: dict[str, Any] = {"dropout": 0.0} if name.startswith(("alex", "mobile", "eff")) else {}
    if name.startswith("eff"):
        rates["stochastic_depth_prob"] = 0.0
    module = change(torchvision.models.get_model(name, **rates))
    randomise(module)
    reference = TorchReference(module)
    drops = {"drop_rate", "drop_path_rate"} & set(cz.model_info(name).options)
    model = cz.create_model(name, **{**options, **dict.fromkeys(drops, 0.0)})
    return model, reference


@for_each_change
def test_options_equal_the_change_by_hand(
    name: str, options: dict[str, Any], change: Change
) -> None:
    model, reference = changed(name, options, change)
    report = model.load_state_dict(reference.state())
    assert report.naming == "own"
    x = images((39, 45), 3)
    if name == "alexnet":
        x = images((65, 65), 2)
    found = difference(model(x, exact=True), reference.run(x, training=False).numpy())
    assert found <= ROUNDING
    logits = reference.run(x, training=True)
    cotangent = np.random.default_rng(0).standard_normal(logits.shape).astype(np.float32)
    logits.backward(torch.from_numpy(cotangent))
    out, gradients = model.vjp(x, cotangent, training=True)
    assert difference(out, logits.detach().numpy()) <= ROUNDING
    originals = reference.gradients()
    assert gradients.keys() == originals.keys()
    for key, gradient in originals.items():
        assert difference(gradients[key], gradient) <= ROUNDING_OF_GRADIENTS, key


def test_without_norms_convolutions_have_biases() -> None:
    """As a norm that only shifts: mean 0, variance 1, factor 1."""
    module = torchvision.models.resnet18()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
            nn.init.normal_(layer.bias, 0, 0.2)
    model = cz.create_model("resnet18", norm="none")
    names = {"bn1": "conv1", "bn2": "conv2", "downsample.1": "downsample.0"}
    state = {}
    for key, value in module.state_dict().items():
        path, _, array = key.rpartition(".")
        norm = next((norm for norm in names if path.endswith(norm)), None)
        if norm is None:
            state[key] = value.numpy()
        elif array == "bias":
            state[f"{path.removesuffix(norm)}{names[norm]}.bias"] = value.numpy()
    report = model.load_state_dict(state)
    assert len(report.loaded) == len(model.state_dict()) == 2 * 20 + 2
    x = images((65, 97), 2)
    expected = TorchReference(module).run(x, training=False).numpy()
    assert difference(model(x), expected) <= ROUNDING


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("resnet18", lambda: torchvision.models.resnet18(zero_init_residual=True)),
        ("resnet50", lambda: torchvision.models.resnet50(zero_init_residual=True)),
    ],
)
def test_blocks_may_start_as_the_identity(name: str, module: Callable[[], nn.Module]) -> None:
    zero = {key for key, value in module().state_dict().items() if is_zero_scale(key, value)}
    assert zero
    state = cz.create_model(name, zero_init_residual=True).state_dict()
    assert {key for key, value in state.items() if is_zero_scale(key, value)} == zero
    usual = cz.create_model(name, zero_init_residual=False).state_dict()
    assert not any(is_zero_scale(key, value) for key, value in usual.items())


def is_zero_scale(key: str, value: Any) -> bool:
    return key.endswith("weight") and value.ndim == 1 and not value.any()


def test_mobile_blocks_may_start_as_the_identity() -> None:
    """The norm of the last convolution of each block with a skip."""
    state = cz.create_model("mobilenet_v2", zero_init_residual=True).state_dict()
    zero = {key for key, value in state.items() if is_zero_scale(key, value)}
    skips = [f"features.{index}.conv.3.weight" for index in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
    assert zero == set(skips)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "vgg11",
            {"stem": "small"},
            "`stem` of vgg11: expected a network with a first convolution",
        ),
        ("vit_b_16", {"stem": "small"}, "`stem` of vit_b_16"),
        ("alexnet", {"norm": "group"}, "`norm` of alexnet: expected a network with batch norms"),
        ("vgg11", {"norm": "none"}, "`norm` of vgg11: expected a network with batch norms"),
        (
            "vgg11",
            {"zero_init_residual": True},
            "of vgg11: expected .* residual blocks that end in a norm",
        ),
        ("plain20", {"zero_init_residual": False}, "`zero_init_residual` of plain20: expected"),
        (
            "resnet18",
            {"norm": "none", "zero_init_residual": True},
            "`zero_init_residual` of resnet18: expected .* that end in a norm, got one without",
        ),
        ("resnet18", {"stem": "tiny"}, "stem|small"),
        ("resnet18", {"activation": "swosh"}, "swosh"),
        ("resnet18", {"norm": 3}, "`norm` of resnet18: expected a name, got 3"),
        (
            "resnet18",
            {"zero_init_residual": "yes"},
            '`zero_init_residual` of resnet18: expected True or False, got "yes"',
        ),
        (
            "resnet18",
            {"activation": "swish"},
            '`activation` of resnet18: expected one of "relu", "relu6", "silu", .*"hard_swish"',
        ),
        ("resnet18", {"norm": "layer"}, '`norm` of resnet18: expected .*"group".*"none"'),
        ("resnet18", {"num_classes": 2.5}, "`num_classes` of resnet18: expected a whole number"),
        ("resnet18", {"num_classes": -1}, "`num_classes` of resnet18: expected a whole number"),
        ("resnet18", {"drop_rate": "x"}, '`drop_rate` of resnet18: expected a number, got "x"'),
        ("resnet18", {"source": "tv"}, '`source` of resnet18: expected "torchvision" or "timm"'),
        ("resnet18", {"weights": True}, '`weights` of resnet18: expected "default"'),
        ("resnet18", {"device": 0}, '`device`: expected "cpu", .*, got 0'),
    ],
)
def test_what_a_network_cannot_be_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model(name, meta=True, **options)


def test_every_model_says_which_options_it_takes() -> None:
    changes: dict[str, Any] = {
        "stem": "small",
        "activation": "silu",
        "norm": "group",
        "zero_init_residual": True,
    }
    for name in cz.list_models():
        taken = set(cz.model_info(name).options)
        for option, value in changes.items():
            if option in taken:
                model = cz.create_model(name, meta=True, **{option: value})
                assert model.options == {option: value}
            else:
                with pytest.raises(cz.ArgumentError, match=f"`{option}` of {name}"):
                    cz.create_model(name, meta=True, **{option: value})


def pooled_side(name: str, **options: Any) -> int:
    """Pixels on a side of the image that is pooled before the classifier."""
    model = cz.create_model(name, image_size=32, meta=True, **options)
    rows = list(model.summary())
    last = [row for row in rows if row.op == "adaptive_pool"][-1]
    return next(row.shape[1] for row in rows if row.name == last.inputs[0])


@pytest.mark.parametrize(
    ("name", "usual", "small"),
    [
        ("resnet18", 1, 4),
        ("densenet121", 1, 4),
        ("mobilenet_v2", 1, 2),
        ("efficientnet_b0", 1, 2),
    ],
)
def test_small_stems_keep_small_images_large(name: str, usual: int, small: int) -> None:
    assert pooled_side(name) == usual
    assert pooled_side(name, stem="small") == small


def test_adapted_models_are_saved_and_loaded(tmp_path: Any) -> None:
    options: dict[str, Any] = {"stem": "small", "norm": "group", "activation": "gelu"}
    model = cz.create_model("resnet18", num_classes=10, **options)
    model.save(tmp_path / "m.safetensors")
    again = cz.load(tmp_path / "m.safetensors")
    assert again.options == {"num_classes": 10, **options}
    x = images((32, 32), 2)
    np.testing.assert_array_equal(model(x), again(x))


def test_activations_are_those_of_timm() -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", act_layer=nn.ReLU).eval()
    ours = cz.create_model("vit_tiny_patch16_224", activation="relu", drop_rate=0.0)
    ours.load_state_dict(theirs.state_dict())
    x = images((224, 224), 1)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    assert difference(ours(x), expected) <= ROUNDING
