"""A model file is data: it says what the network is, and does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnnzoo as cz
from forged import arrays_of, described, forge, mutations

# Enough for any of the networks here, and far from what hostile sizes ask for.
ADDRESS_SPACE = 64 << 30


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a network with an option of every type."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    model = cz.create_model(
        "efficientnet_b0",
        num_classes=3,
        width=0.1,
        depth=0.1,
        activation="relu",
        drop_rate=0.25,
        zero_init_residual=True,
        image_size=64,
    )
    model.labels = ["apple", "pear", "plum"]
    model.save(path)
    return path


def test_every_changed_value_is_taken_or_refused(saved: Path, tmp_path: Path) -> None:
    whole, arrays = described(saved), arrays_of(saved)
    path = tmp_path / "forged.safetensors"
    refused = 0
    for place, other in mutations(whole):
        forge(path, json.dumps(other), arrays)
        try:
            cz.load(path)
            continue
        except cz.WeightsError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{place}: {error!r}") from error
        refused += 1
        assert str(path) in said, place
    # Few of them are what a network may have.
    assert refused > 350


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"options": {"weights": "default"}}, "weights"),
        ({"options": {"weights": "/etc/passwd"}}, "weights"),
        ({"options": {"num_classes": 3, "device": "cuda"}}, "device"),
        ({"options": {"num_classes": 3, "meta": True}}, "meta"),
        ({"options": {"num_classes": "3"}}, "num_classes"),
        ({"options": {"num_classes": 3, "seed": 1}}, "seed"),
        ({"preprocess": 5}, "`configuration.preprocess`: expected an object, got 5"),
        ({"labels": [["a"], ["b"], ["c"]]}, "`configuration.labels.0`: expected text"),
        ({"labels": ["a"]}, "`labels`: expected 3, one for each logit, got 1 names"),
        ({"name": "resnet9999"}, "resnet9999"),
        ({"source": "nobody"}, "nobody"),
        ({"format": 2}, "a newer cnnzoo wrote it"),
        ({"format": True}, "`configuration.format`: expected format 1 or older"),
        ({"extra": 1}, "got extra"),
        (
            {"graph": "graph a\nno graph", "source": None, "options": {}},
            "`network`: expected one that cnnzoo can build",
        ),
    ],
)
def test_what_is_no_description_is_named(
    saved: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    path = tmp_path / "forged.safetensors"
    forge(path, json.dumps({**described(saved), **change}), arrays_of(saved))
    with pytest.raises(cz.WeightsError) as caught:
        cz.load(path)
    assert says in str(caught.value)


def test_numbers_beyond_the_engines_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "forged.safetensors"
    whole = described(saved)
    for field, value in (("crop", 2**64), ("crop", 2**40), ("resize", 0), ("std", [0.0] * 3)):
        text = json.dumps({**whole, "preprocess": {**whole["preprocess"], field: value}})
        forge(path, text, arrays_of(saved))
        with pytest.raises(cz.WeightsError, match=field):
            cz.load(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 100_000, "NaN", '"\\ud800"', "{}", ""]
)
def test_text_that_is_hostile_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "forged.safetensors"
    save_file({"a": np.zeros(1)}, path, metadata={"cnnzoo": text})
    with pytest.raises(cz.WeightsError, match="its configuration is damaged"):
        cz.load(path)


HUGE = "graph huge\ninput = input() channels=3 height=8 width=8\n" + "\n".join(
    f"c{n} = conv({f'c{n - 1}' if n else 'input'}) out=1048576 kernel=1" for n in range(3)
)
LOAD = """
import resource
from pathlib import Path
import cnnzoo as cz
resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))
try:
    cz.load({path!r})
except cz.WeightsError as error:
    print("refused", error)
# Not ru_maxrss, in which a child begins with what its parent took.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]), "KiB")
"""


@pytest.mark.parametrize(
    "change",
    [
        {"graph": HUGE + "\noutput c2\n", "source": None, "options": {}},
        {"options": {"num_classes": 65536, "width": 16.0, "depth": 16.0}, "labels": None},
    ],
)
def test_sizes_are_compared_before_there_is_memory_for_them(
    saved: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "huge.safetensors"
    forge(path, json.dumps({**described(saved), **change, "labels": None}), {"a": np.zeros(1)})
    assert path.stat().st_size < 3000
    code = LOAD.format(most=ADDRESS_SPACE, path=str(path))
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.startswith(f"refused {path} does not fit"), found
    assert int(found.stdout.splitlines()[-1].removesuffix(" KiB")) < 2 << 20


def test_arrays_beside_those_of_the_network_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.safetensors"
    arrays = {**arrays_of(saved), "more": np.zeros(3, np.float32)}
    forge(path, json.dumps(described(saved)), arrays)
    with pytest.raises(cz.WeightsError, match="1 unexpected: `more`"):
        cz.load(path)


def test_a_device_that_is_not_there_is_no_fault_of_the_file(saved: Path) -> None:
    # cnnzoo-lite, where this runs too, knows no other device than the CPU.
    with pytest.raises((cz.DeviceError, cz.MissingPackageError), match="nowhere"):
        cz.load(saved, device="nowhere")
