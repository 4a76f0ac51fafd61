"""Profiles of runs on the native engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from reference import images

SMALL = "mobilenet_v2_035"


def profile(name: str = SMALL, *, batch: int = 1, side: int = 64, repeats: int = 3) -> cz.Profile:
    model = cz.create_model(name, num_classes=10)
    return model.profile(images((side, side), batch), repeats=repeats)


def test_the_steps_are_those_of_the_plan() -> None:
    model = cz.create_model("resnet18", num_classes=10)
    found = model.profile(images((64, 64), 2), repeats=1)
    lines = model.plan((2, 3, 64, 64)).splitlines()[1:-1]
    assert all(line.startswith(s.kernel) for line, s in zip(lines, found.steps, strict=True))
    computed = {node for step in found.steps for node in step.nodes}
    assert computed <= set(model.nodes()) and found.steps[0].nodes == ("input",)
    assert all(step.milliseconds >= 0 and len(step.shape) == 4 for step in found.steps)
    # Runs and steps are timed in turns: neither need be the longer.
    assert found.milliseconds > 0 and found.run_milliseconds > 0
    assert found.threads == cz.get_num_threads() and found.x_shape == (2, 3, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", SMALL, "densenet121", "vit_ti_16"])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    side = 224 if name == "vit_ti_16" else 64
    found = profile(name, batch=2, side=side, repeats=1)
    assert found.flops == 2 * 2 * cz.create_model(name, num_classes=10).summary((side, side)).macs
    other = {"resnet18": "resnet18", "googlenet": "googlenet", "densenet121": "densenet121"}.get(
        name
    )
    if other is None:
        return
    torchvision = pytest.importorskip("torchvision")
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, other)(num_classes=10, **options).eval()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(torch.zeros(2, 3, side, side))
    assert found.flops == counted.get_total_flops()


def test_rates_are_operations_by_time_and_shares_of_the_peak() -> None:
    found = profile()
    for step in found.steps:
        if step.milliseconds:
            assert step.gflops == pytest.approx(step.flops / step.milliseconds / 1e6)
        assert step.share == pytest.approx(step.gflops / found.peak_gflops)
        assert bool(step.flops) == (
            step.kind in {"conv", "winograd", "depthwise", "block", "linear"}
        )
    assert found.gflops == pytest.approx(found.flops / found.milliseconds / 1e6)


def test_it_prints_as_a_table_in_the_order_of_the_run_or_by_time() -> None:
    found = profile()
    head, _, *rows, empty, last = str(found).splitlines()
    assert head.split()[:4] == ["kernel", "output", "ms", "time"] and not empty
    assert len(rows) == len(found.steps)
    for row, step in zip(rows, found.steps, strict=True):
        assert row.startswith(step.kernel) and f"{step.milliseconds:.3f}" in row
    assert last.startswith(f"{SMALL} on 1×3×64×64") and f"{len(rows)} steps" in last
    slowest = max(found.steps, key=lambda step: step.milliseconds)
    assert found.table(by_time=True).splitlines()[2].startswith(slowest.kernel)
    page = found._repr_html_()
    assert page.count("<tr>") == len(rows) + 1 and "relu6" in page


@pytest.mark.parametrize(("name", "most"), [(SMALL, 44), ("densenet121", 44)])
def test_a_picture_has_a_bar_for_each_step_or_part(name: str, most: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    found = profile(name, side=32, repeats=1)
    axes = found.plot(ax=Figure().subplots())
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert 8 <= len(labels) <= most and labels[0] == "input"
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert sum(bar.get_width() for bar in bars) == pytest.approx(found.milliseconds)
    found.save(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(cz.ArgumentError, match="ends in"):
        found.save(tmp_path / "profile.xyz")


def test_what_cannot_be_profiled_is_refused() -> None:
    model = cz.create_model(SMALL, num_classes=10)
    x = images((32, 32), 1)
    for wrong in (x[:, :2], x[:0], x[0]):
        with pytest.raises(cz.ShapeError):
            model.profile(wrong)
    for repeats in (0, -1, 10_001, 1.5, True):
        with pytest.raises(cz.ArgumentError, match="`repeats`"):
            model.profile(x, repeats=repeats)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        model.profile(x.astype(np.int64))
    with pytest.raises(cz.DeviceError, match="with parameters"):
        cz.create_model(SMALL, meta=True).profile(x)
