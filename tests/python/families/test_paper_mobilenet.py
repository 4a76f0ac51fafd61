"""MobileNet against its paper (Howard et al., arXiv:1704.04861): tables 1, 2, 6 and 7."""

from __future__ import annotations

import pytest

import cnnzoo as cz

# Table 1 from the second convolution on: side of the image that a block reads, channels before and
# after, stride. Its last depthwise convolution is listed with stride 2, and 7 × 7 images after it.
BLOCKS = [
    (112, 32, 64, 1),
    (112, 64, 128, 2),
    (56, 128, 128, 1),
    (56, 128, 256, 2),
    (28, 256, 256, 1),
    (28, 256, 512, 2),
    *[(14, 512, 512, 1)] * 5,
    (14, 512, 1024, 2),
    (7, 1024, 1024, 1),
]

# Table 6: millions of multiply-adds and of parameters.
WIDTHS = {
    "mobilenet_v1": (569, 4.2),
    "mobilenet_v1_075": (325, 2.6),
    "mobilenet_v1_050": (149, 1.3),
    "mobilenet_v1_025": (41, 0.5),
}

# Table 7: millions of multiply-adds.
RESOLUTIONS = {224: 569, 192: 418, 160: 290, 128: 186}

# Table 2: percent of multiply-adds and of parameters. What it gives the first convolution, 1.19
# percent of the multiply-adds, is left out: its column would sum to 99.3.
SHARES = {"1×1": (94.86, 74.59), "depthwise": (3.06, 1.06), "linear": (0.18, 24.33)}


@pytest.mark.parametrize("source", ["timm", "keras"])
def test_layers_are_those_of_table_1(source: str) -> None:
    rows = cz.create_model("mobilenet_v1", source=source, meta=True).summary()
    first, *convolutions = [row for row in rows if row.op == "conv"]
    assert (first.shape, first.params) == ((32, 112, 112), 9 * 3 * 32)
    assert len(convolutions) == 2 * len(BLOCKS)
    pairs = zip(convolutions[::2], convolutions[1::2], strict=True)
    for (depthwise, pointwise), (side, channels, out, stride) in zip(pairs, BLOCKS, strict=True):
        after = side // stride
        assert depthwise.shape == (channels, after, after)
        assert pointwise.shape == (out, after, after)
        assert (depthwise.params, pointwise.params) == (9 * channels, channels * out)
        # Equation 5.
        macs = 9 * channels * after**2 + channels * out * after**2
        assert depthwise.macs + pointwise.macs == macs
    pool, classifier = (
        [row for row in rows if row.op == op][-1] for op in ("adaptive_pool", "linear")
    )
    assert pool.shape == (1024, 1, 1)
    assert (classifier.shape, classifier.macs) == ((1000,), 1024 * 1000)


@pytest.mark.parametrize("name", WIDTHS)
def test_widths_cost_what_table_6_says(name: str) -> None:
    macs, params = WIDTHS[name]
    info = cz.model_info(name)
    # The paper cuts some of its numbers and rounds others.
    assert abs(info.macs / 1e6 - macs) < 1
    assert round(info.params / 1e6, 1) == params


@pytest.mark.parametrize("side", RESOLUTIONS)
def test_resolutions_cost_what_table_7_says(side: int) -> None:
    summary = cz.create_model("mobilenet_v1", image_size=side, meta=True).summary()
    assert abs(summary.macs / 1e6 - RESOLUTIONS[side]) < 1
    assert round(summary.params / 1e6, 1) == 4.2


def test_kinds_of_layers_share_the_cost_as_table_2_says() -> None:
    rows = cz.create_model("mobilenet_v1", meta=True).summary()
    kinds = {"1×1": "conv_pw", "depthwise": "conv_dw", "linear": "classifier"}
    weighted = [row for row in rows if row.op in {"conv", "linear"}]
    for kind, (macs, params) in SHARES.items():
        of_kind = [row for row in weighted if row.name.split(".")[-1] == kinds[kind]]
        for percent, part, whole in (
            (macs, sum(row.macs for row in of_kind), sum(row.macs for row in weighted)),
            (params, sum(row.params for row in of_kind), sum(row.params for row in weighted)),
        ):
            assert abs(100 * part / whole - percent) < 0.1, kind
