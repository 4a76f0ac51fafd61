"""Comparisons of models: rows, selection, sorting, filters, measurement, tables and exports."""

from __future__ import annotations

import copy
import csv
import pickle
import sys
import types
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import cnnzoo as cz
import cnnzoo.racing  # which is imported to measure
from cnnzoo.comparison.row import peak

FEW = ["alexnet", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vit_ti_16"]
# Torchvision states billions of multiply-adds with three decimals.
BILLION = 1e9


# Rows


def test_rows_of_every_model_are_its_facts() -> None:
    every = cz.compare()
    assert [row.name for row in every] == cz.list_models()
    for row in every:
        info = cz.model_info(row.name)
        if row.weights == "timm/dino":  # which have no classifier
            assert row.params == info.params - 1000 * 385
            continue
        for name in ("family", "year", "source", "params", "macs", "activations", "input_size"):
            assert getattr(row, name) == getattr(info, name), (row.name, name)
        if row.weights:
            assert row.weights in info.weights
            assert row.top1 == info.accuracies.get(row.weights)
        else:
            assert not cz.published_weights(row.name, source=row.source)


def test_weights_of_torchvision_have_the_numbers_that_it_states() -> None:
    """Accuracies, parameters and multiply-adds, each at the image size of its weights."""
    names = [name for name in cz.list_models(source="torchvision") if name != "vit_h_14"]
    rows = cz.compare([(name, "torchvision") for name in names], weights="all")
    compared = 0
    for row in rows:
        theirs = torchvision.models.get_model_weights(row.name)[row.weights.partition("/")[2]]
        metrics = theirs.meta["_metrics"]["ImageNet-1K"]
        assert row.input_size == theirs.transforms().crop_size[0]
        if not theirs.meta["categories"]:
            assert row.top1 is None  # a network without a classifier
            continue
        assert (row.top1, row.top5) == (metrics["acc@1"], metrics["acc@5"])
        assert row.macs / BILLION == pytest.approx(theirs.meta["_ops"], abs=0.0006), row.name
        assert bool(row.data) == ("SWAG" in theirs.name)
        if "aux" not in cz.model_info(row.name).options:
            assert row.params == theirs.meta["num_params"]
        compared += 1
    assert compared > 50


class Held(TorchDispatchMode):
    """Counts the bytes of float tensors that are alive at once, other than those given."""

    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = {tensor.untyped_storage()._cdata for tensor in given}
        self._alive: dict[int, int] = {}
        self._now = self.most = 0

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            # The indices of maxima and the statistics of norms are PyTorch's own affair.
            values = isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
            if values and tensor.dim() > 1:
                self._count(tensor)
        return made

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._given:
            return
        if not self._alive.get(key):
            self._now += size
            self.most = max(self.most, self._now)
        self._alive[key] = self._alive.get(key, 0) + 1

        def gone() -> None:
            self._alive[key] -= 1
            if not self._alive[key]:
                self._now -= size

        weakref.finalize(tensor, gone)


@pytest.mark.parametrize(
    "name",
    [
        *("alexnet", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "densenet121"),
        *("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_0"),
    ],
)
def test_values_need_what_pytorch_holds_at_once(name: str) -> None:
    """Torchvision's network, node by node, each value freed after its last use."""
    [row] = cz.compare((name, "torchvision") for _ in range(1))
    with torch.device("meta"), torch.no_grad():
        module = torchvision.models.get_model(name).eval()
        x = torch.zeros(1, 3, row.input_size, row.input_size)
        with Held([*module.parameters(), *module.buffers(), x]) as held:
            fx.Interpreter(fx.symbolic_trace(module)).run(x)
    # The caller holds the images all the time, and we hold them until they are read.
    assert held.most <= row.value_bytes <= held.most + x.nbytes
    kept = [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]
    batches = sum(1 for b in module.buffers() if not b.is_floating_point())
    assert row.weight_bytes == sum(tensor.nbytes for tensor in kept) + 4 * batches


def test_peak_of_a_branch_and_of_operations_in_place() -> None:
    chain = [("x", "input", [], 8), ("a", "conv", ["x"], 8), ("r", "activation", ["a"], 8)]
    assert peak(chain) == 16
    # The sum reads `a` again, so the activation cannot overwrite it.
    assert peak([*chain, ("s", "add", ["r", "a"], 8)]) == 24
    assert peak([*chain, ("s", "add", ["r", "r"], 8)]) == 16
    assert peak([("x", "input", [], 5)]) == 5


# Selection


def test_names_patterns_pairs_tags_facts_and_models_select() -> None:
    model = cz.resnet18(num_classes=10, image_size=64, meta=True)
    found = cz.compare(
        [
            "alexnet",
            "resnet[13][48]",
            ("resnet50", "keras"),
            ("resnet50", "torchvision/imagenet1k_v1"),
            "resnet50.tv2_in1k",
            cz.model_info("densenet121", source="timm"),
            model,
            "resnet18",
        ]
    )
    assert [(row.name, row.source, row.weights) for row in found] == [
        ("alexnet", "torchvision", "torchvision/IMAGENET1K_V1"),
        ("resnet18", "torchvision", "torchvision/IMAGENET1K_V1"),
        ("resnet34", "torchvision", "torchvision/IMAGENET1K_V1"),
        ("resnet50", "keras", "keras/imagenet"),
        ("resnet50", "torchvision", "torchvision/IMAGENET1K_V1"),
        ("resnet50", "timm", "timm/tv2_in1k"),
        ("densenet121", "timm", "timm/ra_in1k"),
        ("resnet18", "torchvision", ""),
    ]
    assert (found[5].input_size, found[5].top1) == (176, 79.434)
    own = found[-1]
    assert (own.params, own.input_size, own.top1) == (11_181_642, 64, None)
    assert own.macs == model.summary().macs
    assert cz.compare("alexnet")[0] == cz.compare(cz.model_info("alexnet"))[0] == found[0]
    assert cz.compare(model)[0] == own
    assert cz.compare(name for name in FEW) == cz.compare(tuple(FEW))


def test_a_graph_of_ones_own_has_costs_and_nothing_else() -> None:
    edited = str(cz.resnet20(meta=True).graph).replace("graph resnet20", "graph mine")
    model = cz.Model.from_graph(cz.Graph.parse(edited), device="meta")
    [row] = found = cz.compare(model)
    assert (row.name, row.source, row.family, row.year) == ("mine", "", "", None)
    assert row.params == cz.model_info("resnet20").params
    assert "mine" in repr(found)


def test_the_best_weights_are_the_default_or_else_have_an_accuracy() -> None:
    rows = {row.name: row for row in cz.compare(["tf_efficientnet_lite0", "vit_s_8", "plain34"])}
    lite = rows["tf_efficientnet_lite0"]
    assert (lite.weights, lite.top1) == ("timm/in1k", 74.846)
    assert (rows["vit_s_8"].weights, rows["vit_s_8"].top1) == ("timm/dino", None)
    assert (rows["plain34"].weights, rows["plain34"].top1) == ("", None)


def test_weights_of_more_data_are_marked_or_left_out() -> None:
    [best] = cz.compare("vit_s_16")
    assert (best.weights, best.data) == ("timm/augreg_in21k_ft_in1k", "ImageNet-21k")
    [alone] = cz.compare("vit_s_16", extra_data=False)
    assert (alone.weights, alone.data) == ("timm/augreg_in1k", "")
    assert alone.top1 is not None and best.top1 is not None and alone.top1 < best.top1
    every = cz.compare("vit_s_16", weights="all")
    tags = [weights.tag for weights in cz.published_weights("vit_s_16", source="timm")]
    assert [row.weights for row in every] == tags
    assert len(every.filter(extra_data=False)) == len(
        cz.compare("vit_s_16", weights="all", extra_data=False)
    )
    assert "+ trained on more data" in repr(every)
    assert "+ trained on more data" not in repr(cz.compare("alexnet"))


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([], cz.ArgumentError, "`models`: expected at least one, got none"),
        ("resnett*", cz.ArgumentError, "expected a pattern of models, got 'resnett\\*'"),
        (("*", "paper"), cz.UnknownModelError, "paper"),
        ([("*", "papers")], cz.ArgumentError, "expected one of torchvision"),
        ([("vgg*", "paper"), ("vit*", "paper")], cz.ArgumentError, "pattern of models of paper"),
        ("resnet5O", cz.UnknownModelError, "resnet50"),
        ([("resnet18", "keras")], cz.ArgumentError, "`source` of resnet18"),
        ([("resnet18", "timm/b1_in1k")], cz.WeightsError, "the closest tags"),
        ([("a", "b", "c")], cz.ArgumentError, "expected a name, .* got \\('a', 'b', 'c'\\)"),
        ([5], cz.ArgumentError, "expected a name, .* got 5"),
        (5, cz.ArgumentError, "expected names, pairs or models, got 5"),
        ([None], cz.ArgumentError, "got None"),
        ([b"resnet18"], cz.ArgumentError, "got b'resnet18'"),
        ("", cz.UnknownModelError, "there is no model"),
    ],
)
def test_what_is_no_model_is_refused(models: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cz.compare(models)


@pytest.mark.parametrize("options", [{"weights": "worst"}, {"extra_data": 1}, {"weights": None}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(cz.ArgumentError, match=next(iter(options))):
        cz.compare("alexnet", **options)


# Sorting, filters and parts


def test_sorting_puts_the_best_first_and_missing_values_last() -> None:
    found = cz.compare([*FEW, "plain34", "resnet20"])
    by_top1 = found.sort()
    tops = [row.top1 for row in by_top1]
    assert tops[-2:] == [None, None]
    known = [top for top in tops if top is not None]
    assert known == sorted(known, reverse=True)
    assert [row.top1 for row in found.sort("top1", reverse=True)] == [*known[::-1], None, None]
    assert [row.params for row in found.sort("params")] == sorted(row.params for row in found)
    assert [row.name for row in found.sort("name")] == sorted(row.name for row in found)
    assert [row.name for row in found][:6] == FEW  # it is as it was
    for wrong in ("top2", "graph", None):
        with pytest.raises(cz.ArgumentError, match="`by`: expected one of name, family"):
            found.sort(wrong)  # type: ignore[arg-type]


def test_a_row_is_found_by_the_name_of_its_model() -> None:
    found = cz.compare(FEW)
    assert found[FEW[1]] is found[1]
    with pytest.raises(KeyError, match=f"expected one of {FEW[0]}, .*, got 'resnet'"):
        found["resnet"]
    with pytest.raises(KeyError, match=r"one of the \d+ models, such as resnet"):
        cz.compare("*resnet*")["resnet5"]


def test_filters_keep_what_is_within_all_limits() -> None:
    found = cz.compare(FEW)

    def names(**limits: Any) -> set[str]:
        return {row.name for row in found.filter(**limits)}

    assert names() == set(FEW)
    assert names(max_params=6e6) == {"mobilenet_v2", "efficientnet_b0", "vit_ti_16"}
    assert names(max_macs=714188480) == {"alexnet", "mobilenet_v2", "efficientnet_b0"}
    assert names(max_memory=30e6) == {"mobilenet_v2", "vit_ti_16"}
    assert names(min_top1=75) == {"resnet50", "efficientnet_b0", "vit_ti_16"}
    assert names(family="resnet") == {"resnet18", "resnet50"}
    assert names(family=["ViT", "AlexNet"]) == {"vit_ti_16", "alexnet"}
    assert names(year=2015) == {"resnet18", "resnet50"}
    assert names(year=(2012, 2018)) == {"alexnet", "resnet18", "resnet50", "mobilenet_v2"}
    assert names(year=2019, max_params=1) == set()
    assert names(extra_data=False) == set(FEW) - {"vit_ti_16"}
    # Nothing was measured, so nothing is known to be fast.
    assert names(max_milliseconds=1e9) == set()
    assert names(max_milliseconds=float("inf")) == set(FEW)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_params": "10M"}, "`max_params`: expected a finite number"),
        ({"max_macs": float("nan")}, "`max_macs`: expected a finite number"),
        ({"min_top1": True}, "`min_top1`"),
        ({"family": "ResNot"}, "`family`: expected one of AlexNet, ResNet"),
        ({"family": 3}, "`family`: expected a name or several, got 3"),
        ({"family": [3]}, "`family`"),
        ({"year": "2015"}, "`year`: expected a whole number"),
        ({"year": (2012, 2015, 2018)}, "`year`: expected a year, or the first and last"),
        ({"year": 2015.5}, "`year`"),
        ({"extra_data": "no"}, "`extra_data`"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.compare(FEW).filter(**limits)


def test_a_comparison_is_a_sequence_that_copies() -> None:
    found = cz.compare(FEW)
    assert len(found) == 6 and found[0].name == "alexnet" and found[-1] in found
    assert isinstance(found[1:3], cz.Comparison)
    assert found[:2] + found[1:] == found
    assert found != found[1:] and found != 3
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert twin == found and repr(twin) == repr(found)
    with pytest.raises(TypeError):
        _ = found + (1,)  # type: ignore[operator]  # noqa: RUF005
    with pytest.raises(cz.ArgumentError, match="`rows`"):
        cz.Comparison(["alexnet"])  # type: ignore[list-item]
    assert list(cz.Comparison()) == []
    assert "name" in repr(cz.Comparison())


# Measurement


def test_measuring_times_each_network_in_a_process_of_its_own() -> None:
    before = cz.compare(["resnet20", cz.create_model("mobilenet_v1_025", image_size=32)])
    after = before.measure(batch=2, threads=1, rounds=2, progress=False)
    assert all(row.milliseconds is None for row in before)
    for row, old in zip(after, before, strict=True):
        assert row.milliseconds is not None and 0 < row.milliseconds < 60_000
        assert (row.batch, row.threads, row.name) == (2, 1, old.name)
        assert row.images_per_second == pytest.approx(2e3 / row.milliseconds)
        # At least the interpreter and the weights are in memory.
        assert row.process_bytes is not None and row.process_bytes > row.weight_bytes + 5e6
    assert "ms: 2 images on 1 thread of this machine" in repr(after)
    assert len(after.filter(max_milliseconds=60_000)) == 2
    assert after.sort("milliseconds")[0].milliseconds == min(r.milliseconds or 0 for r in after)
    again = after.measure(batch=1, threads=1, rounds=1, progress=False)
    assert {row.batch for row in again} == {1}
    assert "1 image on 1 thread or 2 images on 1 thread" in repr(again[:1] + after[1:])


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"threads": 0}, {"rounds": 0}, {"batch": 1.5}, {"progress": 1}]
)
def test_measurements_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(cz.ArgumentError, match=next(iter(options))):
        cz.compare("resnet20").measure(**options)


def test_a_process_that_ends_is_an_error_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    race = sys.modules["cnnzoo.racing.race"]
    monkeypatch.setattr(race, "LEAST_MEMORY", sys.maxsize)
    with pytest.raises(cz.OutOfMemoryError, match=r"measuring resnet20: .*free memory"):
        cz.compare("resnet20").measure(rounds=1, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(race, "LOADING", 0.0)
    with pytest.raises(cz.DeviceError, match="measuring resnet20: no answer within 0 s"):
        cz.compare("resnet20").measure(rounds=1, progress=False)


# Tables and exports


def test_the_table_has_a_line_for_each_model() -> None:
    text = repr(cz.compare(FEW))
    head, _, *lines = text.splitlines()
    assert head.split()[:6] == ["name", "family", "year", "params", "multiply-adds", "activations"]
    assert "ms" not in head.split()
    assert [line.split()[0] for line in lines[:6]] == FEW
    resnet = next(line for line in lines if line.startswith("resnet50"))
    for fact in ("25.6M", "4.09G", "11.1M", "224", "80.86%", "torchvision/IMAGENET1K_V2"):
        assert fact in resnet.split()
    assert "none of paper" in repr(cz.compare("plain34"))


def test_the_notebook_shows_the_same_cells() -> None:
    found = cz.compare(FEW)
    page = ET.fromstring(f"<div>{found._repr_html_()}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert [row[0] for row in rows] == ["name", *FEW]
    lines = repr(found).splitlines()
    for cells, line in zip(rows[1:], lines[2:], strict=False):
        assert [word for cell in cells for word in cell.split()] == line.split()
    bars = [
        bar.get("style", "") for bar in page.iter("div") if "height:3px" in bar.get("style", "")
    ]
    assert len(bars) == 4 * len(FEW)
    assert sum("width:100.0%" in bar for bar in bars) == 4
    assert "colour" not in found._repr_html_() and "color:#" not in found._repr_html_()


def test_columns_go_to_dictionaries_csv_and_markdown(tmp_path: Path) -> None:
    found = cz.compare(FEW)
    columns = found.to_dict()
    assert columns["name"] == FEW
    assert columns["milliseconds"] == [None] * 6
    assert columns["memory"] == [row.weight_bytes + row.value_bytes for row in found]
    found.to_csv(tmp_path / "models.csv")
    with (tmp_path / "models.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(columns)
    for name, values in columns.items():
        assert [row[name] for row in read] == ["" if v is None else str(v) for v in values]
    lines = found.to_markdown().splitlines()
    assert lines[1].count("---") == lines[0].count("|") - 1 == lines[2].count("|") - 1
    assert lines[2].startswith("| alexnet | AlexNet | 2012 |")


class Frame:
    """Stands for a DataFrame, where pandas is not installed."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def astype(self, kinds: dict[str, type]) -> Frame:
        changed = {
            name: [float("nan") if value is None else kind(value) for value in self.columns[name]]
            for name, kind in kinds.items()
        }
        return Frame({**self.columns, **changed})


def test_pandas_gets_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cz.compare([*FEW, "plain34"])
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=Frame))
    columns = found.to_pandas().columns
    assert list(columns) == list(found.to_dict())
    for name, values in found.to_dict().items():
        missing = [value is None for value in values]
        assert [value != value for value in columns[name]] == missing  # noqa: PLR0124  # NaN
        kept = [one for one, none in zip(columns[name], missing, strict=True) if not none]
        assert kept == [value for value in values if value is not None]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(cz.MissingPackageError, match="pip install pandas"):
        found.to_pandas()


def test_a_frame_of_pandas_has_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    found = cz.compare([*FEW, "plain34"])
    frame = found.to_pandas()
    assert list(frame.columns) == list(found.to_dict()) and len(frame) == 7
    assert frame.loc[frame["top1"].idxmax(), "name"] == "resnet50"
    assert frame["milliseconds"].isna().all()
    assert pandas.api.types.is_float_dtype(frame["milliseconds"])
    assert frame.set_index("name")["macs"].to_dict() == {row.name: row.macs for row in found}
