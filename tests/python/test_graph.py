"""Graphs: text, rules, and every operation against PyTorch."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers.blur_pool import BlurPool2d

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

Reference = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]


def graph_of(*lines: str, output: str = "y", channels: int = 6, size: int = 17) -> cz.Graph:
    first = f"input = input() channels={channels} height={size} width={size}"
    return cz.Graph.parse("\n".join(["graph test", first, *lines, f"output {output}"]))


def norm(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    return F.batch_norm(
        x, p["y.running_mean"], p["y.running_var"], p["y.weight"], p["y.bias"], True, 0.2, 1e-3
    )


def same_conv(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """17 × 18 pixels, window 5, stride 2: TensorFlow pads (2, 2) rows and (1, 2) columns."""
    return F.conv2d(F.pad(x, (1, 2, 2, 2)), p["y.weight"], stride=2)


def binomial(size: int, channels: int) -> torch.Tensor:
    """The weights of a blur, for a convolution of each channel by itself."""
    row = torch.tensor([math.comb(size - 1, k) for k in range(size)]) / 2 ** (size - 1)
    return torch.outer(row, row).expand(channels, 1, size, size)


def attend(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """Two heads over six patches and a learned token, written out."""
    tokens = F.adaptive_avg_pool2d(x, (2, 3)).flatten(2).transpose(1, 2)
    tokens = torch.cat([p["u"].expand(len(x), 1, 6), tokens], 1) + p["e"]
    q, k, v = F.linear(tokens, p["q_weight"], p["q_bias"]).split(4, dim=2)
    heads = [
        ((q[..., h] @ k[..., h].mT) / 2**0.5).softmax(-1) @ v[..., h]
        for h in (slice(0, 2), slice(2, 4))
    ]
    return torch.cat(heads, 2)


def attend_to_shared_keys(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """Two heads of 17 × 18 pixels over 8 × 9 keys and values that both heads share."""
    small = F.max_pool2d(x, 2, 2)
    q = F.conv2d(x, p["q.weight"]).flatten(2)
    k = F.conv2d(small, p["k.weight"]).flatten(2)
    v = F.conv2d(small, p["v.weight"]).flatten(2)
    halves = (slice(0, 4), slice(4, 8))
    heads = [v @ ((q[:, h].mT @ k) / 2).softmax(-1).mT for h in halves]
    return torch.cat(heads, 1).reshape(len(x), -1, 17, 18)


OPS: dict[str, tuple[tuple[str, ...], Reference]] = {
    "conv": (
        ("y = conv(input) out=4 kernel=[3,5] stride=[2,1] padding=[1,2] dilation=[2,1] bias=true",),
        lambda x, p: F.conv2d(x, p["y.weight"], p["y.bias"], (2, 1), (1, 2), (2, 1)),
    ),
    "grouped": (
        ("y = conv(input) out=9 kernel=3 groups=3",),
        lambda x, p: F.conv2d(x, p["y.weight"], groups=3),
    ),
    "depthwise": (
        ("y = conv(input) out=12 kernel=3 padding=1 groups=6",),
        lambda x, p: F.conv2d(x, p["y.weight"], padding=1, groups=6),
    ),
    "same": (("y = conv(input) out=4 kernel=5 stride=2 padding=same",), same_conv),
    "batch_norm": (("y = batch_norm(input) eps=1e-3 momentum=0.2",), norm),
    "max_pool": (
        ("y = pool(input) kernel=3 stride=2 padding=1",),
        lambda x, _: F.max_pool2d(x, 3, 2, 1),
    ),
    "max_pool_ceil": (
        ("y = pool(input) kernel=3 stride=2 ceil=true",),
        lambda x, _: F.max_pool2d(x, 3, 2, ceil_mode=True),
    ),
    "max_pool_ceil_in_border": (
        ("y = pool(input) kernel=2 stride=2 padding=1 ceil=true",),
        lambda x, _: F.max_pool2d(x, 2, 2, 1, ceil_mode=True),
    ),
    "average_pool": (
        ("y = pool(input) kind=average kernel=3 padding=1",),
        lambda x, _: F.avg_pool2d(x, 3, 1, 1),
    ),
    "average_pool_inside": (
        ("y = pool(input) kind=average kernel=3 stride=2 padding=1 count_padding=false",),
        lambda x, _: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "blur": (
        ("y = blur(input)",),
        lambda x, _: BlurPool2d(6, filt_size=3, stride=2)(x),
    ),
    "blur_wide": (
        ("y = blur(input) size=5 stride=1 padding=2 border=zeros",),
        lambda x, _: BlurPool2d(6, filt_size=5, stride=1, pad_mode="constant")(x),
    ),
    "blur_by_axis": (
        ("y = blur(input) size=4 stride=[1,3] padding=[0,2]",),
        lambda x, _: F.conv2d(
            F.pad(x, (2, 2, 0, 0), mode="reflect"), binomial(4, 6), stride=(1, 3), groups=6
        ),
    ),
    "adaptive_pool": (
        ("y = adaptive_pool(input) size=[6,7]",),
        lambda x, _: F.adaptive_avg_pool2d(x, (6, 7)),
    ),
    "pool_up_to": (
        ("y = pool_up_to(input) size=[19,7]",),
        lambda x, _: F.adaptive_avg_pool2d(x, (19, 18)),
    ),
    "pool_up_to_neither": (("y = pool_up_to(input) size=[16,18]",), lambda x, _: x + 0),
    "lrn": (
        ("y = lrn(input) size=4 alpha=0.5 beta=0.75 k=2",),
        lambda x, _: F.local_response_norm(x, 4, 0.5, 0.75, 2.0),
    ),
    "linear": (
        ("f = flatten(input)", "y = linear(f) out=5"),
        lambda x, p: F.linear(x.flatten(1), p["y.weight"], p["y.bias"]),
    ),
    "conv_of_a_pixel": (
        ("p = adaptive_pool(input)", "c = conv(p) out=5 bias=true", "y = flatten(c)"),
        lambda x, p: F.conv2d(x.mean((2, 3), keepdim=True), p["c.weight"], p["c.bias"]).flatten(1),
    ),
    "add": (("y = add(input, input, input)",), lambda x, _: x + x + x),
    "concat": (
        ("a = activation(input) function=relu", "y = concat(input, a, input)"),
        lambda x, _: torch.cat([x, x.relu(), x], 1),
    ),
    "gate": (
        ("g = adaptive_pool(input)", "y = gate(input, g)"),
        lambda x, _: x * x.mean((2, 3), keepdim=True),
    ),
    "pad": (
        ("y = pad(input) top=1 bottom=2 left=3",),
        lambda x, _: F.pad(x, (3, 0, 1, 2)),
    ),
    "pad_channels": (
        ("y = pad(input) right=1 channels=2",),
        lambda x, _: F.pad(x, (0, 1, 0, 0, 0, 2)),
    ),
    "batch_norm_without_scale": (
        ("y = batch_norm(input) scale=false",),
        lambda x, p: F.batch_norm(x, None, None, None, p["y.bias"], True),
    ),
    "group_norm": (
        ("y = group_norm(input) groups=3",),
        lambda x, p: F.group_norm(x, 3, p["y.weight"], p["y.bias"]),
    ),
    "layer_norm": (
        ("f = flatten(input)", "y = layer_norm(f) eps=1e-6"),
        lambda x, p: F.layer_norm(x.flatten(1), (1944,), p["y.weight"], p["y.bias"], 1e-6),
    ),
    "max_pool_same": (
        ("y = pool(input) kernel=3 stride=2 padding=same",),
        lambda x, _: F.max_pool2d(F.pad(x, (0, 1, 1, 1), value=-torch.inf), 3, 2),
    ),
    "average_pool_same": (
        ("y = pool(input) kind=average kernel=3 padding=same",),
        lambda x, _: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    ),
    "average": (
        ("a = activation(input)", "y = average(input, a)"),
        lambda x, _: (x + x.relu()) / 2,
    ),
    "multiply": (("y = multiply(input) by=0.17",), lambda x, _: x * 0.17),
    "affine": (
        ("y = affine(input) scale=[1,2,3,4,5,6] shift=[0,1,0,-1,0,0.5]",),
        lambda x, _: (
            x * torch.arange(1.0, 7.0).view(6, 1, 1)
            + torch.tensor([0, 1, 0, -1, 0, 0.5]).view(6, 1, 1)
        ),
    ),
    "tokens": (
        (
            "p = adaptive_pool(input) size=[2,3]",
            "t = tokens(p)",
            "u = embedding() width=6",
            "c = concat(u, t)",
            "e = embedding() tokens=7 width=6",
            "v = add(c, e)",
            "q = linear(v) out=12 arrays=q_",
            "a = attention(q) heads=2",
            "y = select_token(a) index=2",
        ),
        lambda x, p: attend(x, p)[:, 2],
    ),
    "multi_query_attention": (
        (
            "q = conv(input) out=8",
            "small = pool(input) kernel=2 stride=2",
            "k = conv(small) out=4",
            "v = conv(small) out=3",
            "y = multi_query_attention(q, k, v) heads=2",
        ),
        attend_to_shared_keys,
    ),
    "layer_scale": (
        ("y = layer_scale(input)",),
        lambda x, p: x * p["y.gamma"].view(6, 1, 1),
    ),
    "dropout_of_nothing": (("y = dropout(input)",), lambda x, _: x * 1),
    "drop_path_of_nothing": (("y = drop_path(input)",), lambda x, _: x * 1),
} | {
    name: ((f"y = activation(input) function={name}",), lambda x, _, f=function: f(x))
    for name, function in {
        "relu": F.relu,
        "relu6": F.relu6,
        "silu": F.silu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": F.gelu,
        "hard_sigmoid": F.hardsigmoid,
        "hard_swish": F.hardswish,
    }.items()
}


@pytest.mark.parametrize("op", OPS)
def test_every_operation_equals_pytorch_forward_and_backward(op: str) -> None:
    """A trained scale stands before the operation, so that its gradient by the input is seen."""
    lines, reference = OPS[op]
    before = "s = conv(input) out=6 groups=6"
    graph = graph_of(before, *(line.replace("input", "s") for line in lines), size=18)
    model = cz.Model.from_graph(graph, seed=3)
    parameters = {k: torch.from_numpy(v) for k, v in model.state_dict().items()}
    trained = {name for name, _, is_trained in graph.parameters() if is_trained}
    for name in trained:
        parameters[name].requires_grad_()
    x = 3 * images((17, 18), 2)[:, [0, 1, 2, 0, 1, 2]]
    if op in {"linear", "layer_norm"}:
        x = np.resize(x, (2, 6, 18, 18))
    scaled = F.conv2d(torch.from_numpy(x), parameters["s.weight"], groups=6)
    expected = reference(scaled, parameters)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    expected.backward(torch.from_numpy(cotangent))
    output, gradients = model.vjp(x, cotangent, training=True)
    assert output.shape[1:] == tuple(graph_shape(graph, x))
    assert difference(output, expected.detach().numpy()) <= ROUNDING
    assert gradients.keys() == trained
    for name in trained:
        gradient = parameters[name].grad
        assert gradient is not None
        assert difference(gradients[name], gradient.numpy()) <= ROUNDING_OF_GRADIENTS, name
    if op == "batch_norm":
        state = model.state_dict()
        for name in ("y.running_mean", "y.running_var"):
            assert difference(state[name], parameters[name].numpy()) <= ROUNDING
        assert state["y.num_batches_tracked"] == 1


def graph_shape(graph: cz.Graph, x: np.ndarray) -> list[int]:
    """The output's shape as the graph predicts it."""
    return graph.rows(x.shape[2], x.shape[3])[-1][3]


def pooled(size: int, kernel: int, stride: int, padding: int, *, ceil: bool) -> int | None:
    """The size that PyTorch's pool puts out, or None."""
    try:
        x = torch.empty(1, 1, size, size, device="meta")
        return F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil).shape[-1]
    except RuntimeError:
        return None


@pytest.mark.parametrize("ceil", [False, True])
def test_pools_put_out_the_sizes_of_pytorch(ceil: bool) -> None:
    """Also of images smaller than the window."""
    for size, kernel, stride in itertools.product(range(1, 9), range(1, 5), range(1, 5)):
        for padding in range(kernel // 2 + 1):
            fields = f"kernel={kernel} stride={stride} padding={padding} ceil={str(ceil).lower()}"
            graph = graph_of(f"y = pool(input) {fields}", channels=1, size=16)
            try:
                found = graph.rows(size, size)[-1][3][-1]
            except cz.ShapeError:
                found = None
            assert found == pooled(size, kernel, stride, padding, ceil=ceil), (size, fields)


def test_dropout_drops_single_values_and_drop_path_whole_images() -> None:
    x = np.ones((200, 4, 5, 5), np.float32)
    for line, group in (("y = dropout(s) rate=0.3", 1), ("y = drop_path(s) rate=0.3", 100)):
        model = cz.Model.from_graph(graph_of("s = activation(input)", line, channels=4, size=5))
        np.testing.assert_array_equal(model(x), x)
        trained, _ = model.vjp(x, x, training=True)
        kept = trained.reshape(-1, group)
        assert (kept == kept[:, :1]).all()
        assert set(np.unique(kept.round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
        share = (kept[:, 0] == 0).mean()
        # Five standard deviations of a share of that many draws.
        assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / len(kept))


def test_auxiliary_outputs_run_only_when_asked_for() -> None:
    text = "\n".join(
        [
            "graph two_headed",
            "input = input() height=8 width=8",
            "trunk = conv(input) out=4 kernel=3",
            "aux.flatten = flatten(trunk)",
            "aux.fc = linear(aux.flatten) out=2",
            "pool = adaptive_pool(trunk)",
            "flatten = flatten(pool)",
            "fc = linear(flatten) out=2",
            "output fc",
            "auxiliary aux.fc weight=0.5",
            "",
        ]
    )
    graph = cz.Graph.parse(text)
    assert str(graph) == text
    rows = [row[0] for row in graph.rows(8, 8)]
    assert "aux.fc" not in rows
    assert "aux.fc.weight" in [name for name, _, _ in graph.parameters()]
    model = cz.Model.from_graph(graph)
    # The auxiliary head needs 8 × 8 pixels, the trunk does not.
    x = images((9, 9), 2)
    assert model(images((8, 8), 2)).shape == (2, 2)
    assert model.features(images((8, 8), 2), ["aux"])["aux"].shape == (2, 2)
    assert model(x).shape == (2, 2)


@pytest.mark.parametrize("begin", ["attn.in_proj_", "12", "true", "a."])
def test_names_of_arrays_parse_back(begin: str) -> None:
    graph = graph_of(f"y = conv(input) out=4 arrays={begin}")
    assert [name for name, *_ in graph.parameters()] == [f"{begin}weight"]
    assert cz.Graph.parse(str(graph)) == graph


def test_a_classifier_beside_the_output_has_no_say_in_its_classes() -> None:
    lines = [
        "f = flatten(input)",
        "classifier {",
        "c = linear(f) out=5",
        "}",
        "y = linear(f) out=6",
    ]
    model = cz.Model.from_graph(graph_of(*lines))
    assert model.num_classes == 6
    model.reset_classifier(num_classes=7)
    assert model.num_classes == 7
    assert model(np.ones((1, 6, 17, 17), np.float32)).shape == (1, 7)


@pytest.mark.parametrize("name", cz.list_models())
def test_the_text_of_every_model_parses_back(name: str) -> None:
    from cnnzoo import _native

    graph = _native.draw(name)
    again = cz.Graph.parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["y = conv(input) out=4 kernel=0"], r"node `y` \(conv\): expected kernel from 1"),
        (["y = conv(input)"], r"node `y` \(conv\): expected out from 1 to 1048576, got 0"),
        (["y = conv(input) out=4 groups=4"], "expected channels divisible by groups=4, got 6"),
        (["y = conv(input) out=4 groups=3"], "expected out divisible by groups=3, got 4"),
        (["y = conv(input) out=4 kernel=99"], "at least as large as the window, got 17×17"),
        (["y = conv(input, input) out=4"], "expected one input, got 2"),
        (
            ["classifier {", "c = conv(input) out=3", "}", "d = conv(c) out=5", "y = flatten(d)"],
            r"expected the last layer before an output, got `d` after it",
        ),
        (
            ["block b {", "a = conv(input) out=4", "stage s {", "y = conv(a) out=4", "}", "}"],
            r"node `s` \(stage\): expected one that is in no other part, got one in the block `b`",
        ),
        (
            ["stage s {", "a = conv(input) out=4", "}", "stage s {", "y = conv(a) out=4", "}"],
            "expected a name of its own, got `s`, which an earlier stage has",
        ),
        (
            ["stem {", "}", "y = conv(input) out=4"],
            "expected a part with nodes of the graph, got none",
        ),
        (
            ["y = activation(input) arrays=a_"],
            "expected a node that has arrays for `arrays`, got one without",
        ),
        (
            ["y = conv(input) out=4 arrays=a/"],
            "expected `arrays` of letters, digits and `_`, joined by dots, got `a/`",
        ),
        (["y = conv(z) out=4"], "line 3 of a graph's text: expected the name of an earlier node"),
        (["y = conv(input) out=4 knl=3"], "line 3 .*unknown field `knl`"),
        (["y = conv(input) out=4 out=5"], "expected each field once"),
        (["y = conv(input) out=four"], "line 3 .*invalid type"),
        (["y = conv(input) out=-4"], "line 3 .*invalid value"),
        (["y = deconv(input) out=4"], "line 3 .*unknown variant `deconv`"),
        (["y = conv input"], r"expected OP\(INPUTS\)"),
        (["y = conv(input"], r"expected a closing `\)`"),
        (["nonsense"], "line 3 .*got `nonsense`"),
        (["y = linear(input) out=4"], r"expected a vector or tokens, got an image"),
        (["f = flatten(input)", "y = conv(f) out=4"], r"expected an image, got a vector \(1734\)"),
        (["f = flatten(input)", "y = add(f, input)"], "from every input"),
        (["a = pool(input) kernel=2", "y = concat(a, input)"], "expected images of 16×16"),
        (["y = gate(input, input)"], r"expected an image \(6, 1, 1\)"),
        (["y = pool(input) kernel=2 padding=2"], "expected padding at most half the kernel"),
        (["y = blur(input) size=26"], "expected size at most 25, got 26"),
        (["y = blur(input) padding=17"], "larger than the border that mirrors it, got 17×17"),
        (["y = blur(input) size=20"], "at least as large as the window, got 17×17"),
        (["y = dropout(input) rate=1.0"], "expected rate from 0 to below 1, got 1"),
        (["y = batch_norm(input) eps=0.0"], "expected eps above 0"),
        (["y = lrn(input) size=0"], "expected size from 1"),
        (["y-1 = add(input)", "y = add(input)"], "expected a name of letters"),
        (["y = add(input)", "y = add(input)"], "expected a name of its own"),
        (["y = add()"], "expected at least one input"),
        (["y = input()"], "expected one input node, the first"),
        (["y = group_norm(input) groups=4"], "expected channels divisible by groups=4, got 6"),
        (["y = layer_norm(input)"], "expected a vector or tokens, got an image"),
        (["y = affine(input) scale=[1]"], "expected scale and shift of 6 numbers, got 1 and 0"),
        (
            ["t = tokens(input)", "e = embedding() tokens=4 width=6", "y = add(t, e)"],
            r"expected tokens \(289, 6\) from every input, got tokens \(4, 6\)",
        ),
        (["t = tokens(input)", "e = embedding() width=5", "y = concat(t, e)"], "of width 6, got 5"),
        (["y = embedding() tokens=4 width=6 grid=3"], "expected tokens of at least 9 cells, got 4"),
        (["t = tokens(input)", "y = attention(t) heads=4"], "expected a width divisible by"),
        (["y = multi_query_attention(input, input)"], "queries, keys and values, got 2"),
        (
            ["y = multi_query_attention(input, input, input) heads=2"],
            "expected queries of 12 channels, the keys' times heads=2, got 6",
        ),
        (
            ["v = pool(input) kernel=2", "y = multi_query_attention(input, input, v)"],
            r"values of as many pixels as an image \(6, 17, 17\), got an image \(6, 16, 16\)",
        ),
        (["t = tokens(input)", "y = layer_scale(t)"], "expected an image, got tokens"),
        (
            ["t = tokens(input)", "y = select_token(t) index=289"],
            "expected more than 289 tokens, got 289",
        ),
        (
            ["t = tokens(input)", "y = linear(t) out=4", "y.weight = embedding() width=4"],
            "names of their own, got `y.weight`, which an earlier node has",
        ),
        (["y = embedding(input) width=6"], "expected no inputs, got 1"),
        (["e = embedding() width=6", "y = concat(input, e)"], "expected an image, got tokens"),
        (["y = multiply(input) by=1e999"], "line 3"),
    ],
)
def test_a_broken_rule_names_node_op_expected_and_got(lines: list[str], message: str) -> None:
    with pytest.raises(cz.GraphError, match=message):
        graph_of(*lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected `graph NAME`, got the end"),
        ("graph a\ninput = input()", "expected `output NODE`, got the end"),
        ("graph a\ny = add()\noutput y", "expected `input` as the first node, got add"),
        ("graph a\noutput y", "line 2"),
        ("graph a\ngraph b\ninput = input()\noutput input", "line 2 .*each once"),
        ("graph a\ninput = input() channels=99999999\noutput input", "channels from 1"),
        (
            "graph a\ninput = input()\noutput input\nauxiliary input weight=much",
            "line 4 .*expected the weight of an auxiliary classifier, got `much`",
        ),
        (
            "graph a\ninput = input()\noutput input\nauxiliary input weight=-1",
            "`input` .*expected a finite weight of at least 0 .*, got -1",
        ),
    ],
)
def test_a_text_that_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(cz.GraphError, match=message):
        cz.Graph.parse(text)


def test_fields_of_an_error_are_attributes() -> None:
    with pytest.raises(cz.GraphError) as caught:
        graph_of("y = conv(input) out=4 groups=4")
    fields = vars(caught.value)
    assert (fields["node"], fields["op"]) == ("y", "conv")
    assert (fields["expected"], fields["got"]) == ("channels divisible by groups=4", "6")


def test_receptive_fields_and_costs_of_known_networks() -> None:
    """ResNet-18's 435 and ResNet-50's 427 pixels, as Araujo et al. computed them (Distill 2019)."""
    for name, pixels in (("resnet18", 435), ("resnet50", 427)):
        summary = cz.create_model(name).summary()
        last = [row for row in summary if row.receptive_field is not None][-1]
        assert last.receptive_field == (pixels, pixels)
        assert last.stride == (32, 32)
        info = cz.model_info(name)
        assert (summary.params, summary.macs) == (info.params, info.macs)


def test_a_summary_follows_the_image() -> None:
    model = cz.create_model("resnet18", num_classes=10)
    small, large = model.summary((1, 3, 64, 64)), model.summary((128, 128))
    assert small.params == large.params
    assert [row.shape for row in small if row.name == "layer4.1.add"] == [(512, 2, 2)]
    convs = [row for row in large if row.op == "conv"]
    assert sum(row.macs for row in convs) == 4 * sum(r.macs for r in small if r.op == "conv")
    assert small.activation_bytes == sum(4 * int(np.prod(row.shape)) for row in small)
    text = repr(small)
    assert text.splitlines()[-1].startswith("resnet18 on 3×64×64: 11,181,642 parameters")
    with pytest.raises(cz.ShapeError):
        model.summary((0, 10))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("count", [8, 16, 64])
def test_a_value_beyond_all_memory_names_the_node(count: int, exact: bool) -> None:
    """An output of 2⁶⁵ bytes and more, which no shape rule forbids."""
    model = cz.Model.from_graph(
        graph_of(
            "a = conv(input) out=1048576",
            "y = adaptive_pool(a) size=1048576",
            channels=1,
            size=1,
        )
    )
    with pytest.raises(cz.CnnzooError, match=r"test, node `y` \(adaptive_pool\)"):
        model(np.zeros((count, 1, 1, 1), np.float32), exact=exact)


@pytest.mark.parametrize("name", ["googlenet", "densenet_bc100", "deit_tiny_distilled_16"])
def test_the_lists_of_a_graph_say_what_its_text_says(name: str) -> None:
    graph = cz.create_model(name, meta=True).graph
    nodes: list[tuple[str, str, list[str], dict[str, str]]] = []
    parts, open_parts = [], []
    output, auxiliary = "", []
    for line in map(str.strip, str(graph).splitlines()[1:]):
        if line.endswith("{"):
            kind, *named = line[:-1].split()
            open_parts.append((kind, *(named or [kind]), len(nodes)))
        elif line == "}":
            parts.append((*open_parts.pop(), len(nodes)))
        elif line.startswith("output "):
            output = line.split()[1]
        elif line.startswith("auxiliary "):
            auxiliary.append(line.split()[1])
        else:
            found = re.fullmatch(r"(\S+) = (\w+)\(([^)]*)\)(.*)", line)
            assert found is not None
            given = dict(field.split("=") for field in found[4].split())
            nodes.append((found[1], found[2], found[3].split(", ") if found[3] else [], given))
    assert [row[:3] for row in graph.operations()] == [node[:3] for node in nodes]
    for (*_, fields), (*_, given) in zip(graph.operations(), nodes, strict=True):
        known = json.loads(fields)
        given.pop("arrays", None)
        assert {field: _word(known[field]) for field in given} == given
    assert sorted(graph.parts()) == sorted(parts)
    assert graph.output == output and graph.auxiliary == auxiliary


def _word(value: object) -> str:
    """A field as the text has it."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.replace("1e-06", "1e-6")


def test_shapes_are_those_of_rows_and_of_auxiliary_classifiers() -> None:
    graph = cz.create_model("inception_v3", meta=True).graph
    for size in (299, 128):
        shapes = dict(zip(graph.nodes(), graph.shapes(size, size), strict=True))
        rows = {row[0]: row[3] for row in graph.rows(size, size)}
        assert rows.items() <= shapes.items()
        aux = {name: shape for name, shape in shapes.items() if name not in rows}
        assert all(name.startswith("AuxLogits") for name in aux)
        # Its 5×5 pooling needs more than the 6×6 pixels of a smaller image.
        assert aux["AuxLogits.fc"] == ([1000] if size == 299 else None)
    with pytest.raises(cz.ShapeError):
        graph.shapes(8, 8)


def test_each_array_has_the_node_that_has_its_name() -> None:
    graph = cz.create_model("vit_ti_16", meta=True).graph
    owners = graph.owners()
    for (name, *_), owner in zip(graph.parameters(), owners, strict=True):
        assert name.startswith(owner)
    assert [name for name in graph.nodes() if name in set(owners)] == list(dict.fromkeys(owners))
