"""Folders and repositories of the hub: ours and timm's read each other's, from a server here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models._hub import save_for_hf

import cnnzoo as cz
import examples
import pictures
from fake_hub import FakeHub
from small_network import tiny
from tolerance import FUSED, difference

# Of huggingface_hub's own, in uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SMALL: dict[str, Any] = {"source": "timm", "num_classes": 3}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty hub, an empty cache and no stored token."""
    for variable in list(os.environ):
        if re.match(r"(CNNZOO|HF_|HUGGINGFACE|TRANSFORMERS)", variable):
            monkeypatch.delenv(variable)
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    # Uploads by the protocol that every server has.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    made = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    yield made
    made.close()


def small(name: str = "mobilenetv3_small_050", seed: int = 3, **options: Any) -> cz.Model:
    return cz.create_model(name, seed=seed, **{**SMALL, **options})


def files_of(model: cz.Model, folder: Path) -> dict[str, bytes]:
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def image(model: cz.Model, count: int = 2) -> np.ndarray:
    channels, height, width = model.graph.input_shape
    shape = (count, channels, min(height, 64), min(width, 64))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def logits(network: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = network.eval()(torch.from_numpy(x)).numpy()
    return found


# ---- folders


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        ("mobilenetv3_small_100", {"in_channels": 1}),
        ("vit_tiny_patch16_224", {"image_size": 64}),
        ("tf_efficientnet_lite0", {"num_classes": 1000, "drop_rate": 0.2}),
    ],
)
def test_timm_loads_our_folders_and_prepares_alike(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = small(name, **options)
    model.save_pretrained(tmp_path)
    theirs: Any = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    x = image(model)
    assert difference(model(x), logits(theirs, x)) < FUSED
    again = cz.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(x), model(x))
    assert again.preprocess == model.preprocess
    if model.graph.input_shape[0] == 3:
        photo = pictures.picture(0, width=300, height=240)
        config = resolve_data_config({}, model=theirs)  # type: ignore[no-untyped-call]
        transform: Any = create_transform(**config)
        np.testing.assert_array_equal(model.preprocess(photo)[0], transform(photo).numpy())


@pytest.mark.parametrize("weights", ["safe", "pickled"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {"num_classes": 4}),
        ("resnet18", {"num_classes": 4, "in_chans": 1}),
        ("vit_tiny_patch16_224", {"num_classes": 4, "img_size": 64}),
    ],
)
def test_we_load_folders_of_timm(
    name: str, arguments: dict[str, Any], weights: str, tmp_path: Path
) -> None:
    theirs: Any = timm.create_model(name, **arguments)
    labels = ["a", "b", "c", "d"]
    save_for_hf(
        theirs,
        str(tmp_path),
        model_config={"label_names": labels},
        safe_serialization=weights == "safe",
    )
    model = cz.from_pretrained(tmp_path)
    x = image(model)
    assert difference(model(x), logits(theirs, x)) < FUSED
    assert model.labels == tuple(labels)
    assert model.load_report is not None
    if model.graph.input_shape[0] == 3:
        again: Any = timm.create_model(f"local-dir:{tmp_path}")
        config = resolve_data_config({}, model=again)  # type: ignore[no-untyped-call]
        photo = pictures.picture(0, width=300, height=240)
        transform: Any = create_transform(**config)
        np.testing.assert_array_equal(model.preprocess(photo)[0], transform(photo).numpy())


def test_a_network_that_timm_lacks_is_ours_alone(tmp_path: Path) -> None:
    for model in (small("resnet18", stem="small"), cz.create_model("resnet20", num_classes=3)):
        model.save_pretrained(tmp_path)
        assert "architecture" not in json.loads((tmp_path / "config.json").read_text())
        assert "import timm" not in (tmp_path / "README.md").read_text()
        x = image(model)
        np.testing.assert_array_equal(cz.from_pretrained(str(tmp_path))(x), model(x))


def test_a_card_states_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    model = small()
    model.labels = ("ant", "bee", "fly")
    model.save_pretrained(tmp_path / "bare")
    bare = (tmp_path / "bare" / "README.md").read_text()
    assert not re.search(r"licen[cs]e|Metrics|Trained on|Began with|datasets|None", bare)
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=3)
    count = sum(parameter.numel() for parameter in theirs.parameters())
    assert "ant, bee, fly" in bare and f"({count:,})" in bare
    model.save_pretrained(
        tmp_path / "told",
        license="apache-2.0",
        data="me/insects",
        base="timm/resnet18.a1_in1k",
        metrics={"top-1 accuracy": 0.912345678},
        description="Insects on leaves.",
    )
    told = (tmp_path / "told" / "README.md").read_text()
    for fact in ("Insects on leaves.", "| top-1 accuracy | 0.912346 |", "| Licence | apache-2.0 |"):
        assert fact in told
    assert huggingface_hub.ModelCard(told).data.to_dict() == {  # type: ignore[no-untyped-call]
        "license": "apache-2.0",
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "timm", "cnnzoo"],
        "base_model": "timm/resnet18.a1_in1k",
        "datasets": ["me/insects"],
    }
    config = json.loads((tmp_path / "told" / "config.json").read_text())
    assert config["pretrained_cfg"]["license"] == "apache-2.0"
    assert config["label_names"] == ["ant", "bee", "fly"]
    assert timm.create_model(f"local-dir:{tmp_path / 'told'}").num_classes == 3


# ---- repositories


def test_the_guide_runs(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/hugging-face.md."""
    hub.token = "hf_..."
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.chdir(tmp_path)
    files = files_of(small("resnet50"), tmp_path / "made")
    hub.make("timm/resnet50.a1_in1k", files)
    hub.make("me/private", files, private=True)
    hub.make("me/net", {}).commit(files, "v2")
    assert examples.run(examples.ROOT / "docs" / "how-to" / "hugging-face.md") == 3
    assert hub.repositories["me/insects"].private
    card = hub.repositories["me/insects"].commits.popitem()[1]["README.md"].decode()
    assert "| top-1 accuracy | 0.93 |" in card


def test_a_model_is_pushed_and_loaded(hub: FakeHub) -> None:
    model = small()
    address = model.push_to_hub(
        "me/net", private=True, token=hub.token, message="Teach it", license="mit"
    )
    repository = hub.repositories["me/net"]
    assert address == f"{hub.address}/me/net/commit/{repository.branches['main']}"
    assert repository.private and repository.messages == ["Teach it"]
    (files,) = repository.commits.values()
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert 'cz.from_pretrained("me/net")' in files["README.md"].decode().replace("'", '"')
    assert [path for method, path in hub.seen if method == "PUT"]
    x = image(model)
    np.testing.assert_array_equal(cz.from_pretrained("me/net", token=hub.token)(x), model(x))
    with pytest.raises(cz.WeightsError, match="private: give a `token`"):
        cz.from_pretrained("me/net", cache_dir="/nowhere", token=False)


def test_a_push_needs_a_token_and_may_open_a_pull_request(hub: FakeHub) -> None:
    with pytest.raises(cz.WeightsError, match="token that may write"):
        small().push_to_hub("me/net", token="wrong")
    assert hub.repositories == {}
    address = small().push_to_hub("me/net", token=hub.token, create_pr=True)
    assert address == f"{hub.address}/me/net/discussions/1"
    small(seed=4).push_to_hub("me/net", token=hub.token, revision="better")
    assert set(hub.repositories["me/net"].branches) == {"main", "better"}


def test_revisions_are_branches_and_commits(hub: FakeHub, tmp_path: Path) -> None:
    models = [small(seed=seed) for seed in (1, 2)]
    made = hub.make("me/net", files_of(models[0], tmp_path / "0"))
    first = made.branches["main"]
    made.commit(files_of(models[1], tmp_path / "1"), "next")
    x = image(models[0])
    for name, revision, expected in (
        ("me/net", None, 0),
        ("me/net", first, 0),
        ("me/net", "next", 1),
        ("hf-hub:me/net@next", None, 1),
        ("hf_hub:me/net", "next", 1),
    ):
        found = cz.from_pretrained(name, revision=revision)
        np.testing.assert_array_equal(found(x), models[expected](x))
    with pytest.raises(cz.WeightsError, match=r"me/net@none at .*there is no such revision"):
        cz.from_pretrained("me/net", revision="none")
    with pytest.raises(cz.ArgumentError, match="none beside @next"):
        cz.from_pretrained("me/net@next", revision="main")


def test_the_cache_serves_offline(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    hub.make("me/net", files_of(model, tmp_path / "net"))
    with monkeypatch.context() as offline:
        offline.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE forbids downloading"):
            cz.from_pretrained("me/net")
    assert hub.seen == []
    cz.from_pretrained("me/net")
    count = len(hub.seen)
    for variable in ("HF_HUB_OFFLINE", "CNNZOO_OFFLINE"):
        with monkeypatch.context() as offline:
            offline.setenv(variable, "1")
            x = image(model)
            np.testing.assert_array_equal(cz.from_pretrained("me/net")(x), model(x))
            with pytest.raises(cz.WeightsError, match=f"{variable} forbids uploading"):
                model.push_to_hub("me/net", token=hub.token)
    assert len(hub.seen) == count
    folder = tmp_path / "elsewhere"
    cz.from_pretrained("me/net", cache_dir=folder)
    assert (folder / "models--me--net" / "refs" / "main").exists()


def test_repositories_of_timm_with_options_of_ours(hub: FakeHub, tmp_path: Path) -> None:
    theirs: Any = timm.create_model("resnet18", num_classes=4)
    save_for_hf(theirs, str(tmp_path), safe_serialization=True)
    hub.make("timm/net", {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    model = cz.from_pretrained("timm/net", num_classes=7, image_size=128)
    assert model.num_classes == 7 and model.preprocess.crop == 128
    features = image(model, 1)
    theirs.reset_classifier(0)
    assert difference(model.embed(features), logits(theirs, features)) < FUSED


TIMM = """
import sys, numpy, timm, torch
from timm.models._hub import push_to_hf_hub
x = torch.from_numpy(numpy.load(sys.argv[1]))
with torch.no_grad():
    ours = timm.create_model("hf-hub:me/ours", pretrained=True).eval()
    numpy.save(sys.argv[2], ours(x).numpy())
    theirs = timm.create_model("resnet18", num_classes=4).eval()
    numpy.save(sys.argv[3], theirs(x).numpy())
push_to_hf_hub(theirs, "me/theirs", token=sys.argv[4], safe_serialization=True)
"""


def test_timm_itself_downloads_ours_and_uploads_its_own(hub: FakeHub, tmp_path: Path) -> None:
    """In a process of its own, since huggingface_hub reads its variables when it is imported."""
    model = small()
    model.push_to_hub("me/ours", token=hub.token)
    x = image(model)
    paths = [str(tmp_path / name) for name in ("x.npy", "ours.npy", "theirs.npy")]
    np.save(paths[0], x)
    subprocess.run(
        [sys.executable, "-c", TIMM, *paths, hub.token],
        env={**os.environ, "HF_HUB_DISABLE_XET": "1"},
        check=True,
    )
    assert difference(model(x), np.load(paths[1])) < FUSED
    theirs = cz.from_pretrained("me/theirs", cache_dir=tmp_path / "fresh")
    assert difference(theirs(x), np.load(paths[2])) < FUSED


# ---- errors


def test_networks_that_are_not_here_name_the_closest(hub: FakeHub) -> None:
    config = {"architecture": "resnet50_gn_x", "num_classes": 2}
    hub.make("timm/other", {"config.json": json.dumps(config).encode(), "model.safetensors": b""})
    hub.repositories["timm/other"].commit(files_with_weights())
    with pytest.raises(cz.UnknownModelError, match="'resnet50_gn_x' of timm here; the closest are"):
        cz.from_pretrained("timm/other")


def files_with_weights() -> dict[str, bytes]:
    from safetensors.numpy import save

    return {"model.safetensors": save({"a": np.zeros(1, np.float32)})}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"[]", "an object"),
        (b"{", "config"),
        (b'{"a": 1}', "`architecture`"),
        (b'{"architecture": "resnet18", "model_args": {"act_layer": "silu"}}', "act_layer"),
        (b'{"architecture": "resnet18", "num_classes": -1}', "`num_classes`"),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 0, 1]}}', "input_siz"),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"crop_pct": "x"}}', "`crop_pct`"),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"crop_pct": 0}}', "a share above 0"),
        (
            b'{"architecture": "resnet18", "pretrained_cfg": {"crop_mode": "centre"}}',
            "`crop_mode`.*: expected center or squash or border, got centre",
        ),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"crop_mode": [1]}}', "`crop_mode`"),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"mean": [5, 1, 2]}}', "preprocessing"),
        (b'{"architecture": "resnet18", "pretrained_cfg": {"interpolation": 3}}', "preprocessing"),
        (b'{"architecture": "resnet18", "num_classes": 2, "label_names": ["a"]}', "2 names"),
        (b'{"architecture": "resnet18"}', "missing"),
        (b'{"architecture": "resnet18", "model_args": {"in_chans": "x"}}', "`in_chans`"),
        (b'{"architecture": "resnet18", "model_args": {"img_size": "x"}}', "`img_size`"),
        (b'{"architecture": "resnet18", "model_args": {"in_chans": 1000000000}}', "the channels"),
        (b'{"architecture": "resnet18", "num_classes": 1000000000}', "at most the 1 of"),
        (
            b'{"architecture": "resnet18", "num_classes": 1000000000000, "label_names": {}}',
            "1000000000000 names",
        ),
        (None, "expected config.json"),
    ],
)
def test_damaged_repositories_are_refused(hub: FakeHub, config: bytes | None, said: str) -> None:
    files = files_with_weights()
    hub.make("me/bad", files if config is None else {**files, "config.json": config})
    with pytest.raises(cz.WeightsError, match=said):
        cz.from_pretrained("me/bad")


def test_a_config_that_is_no_text_is_refused(tmp_path: Path) -> None:
    save_for_hf(timm.create_model("resnet18", num_classes=3), str(tmp_path))
    config = tmp_path / "config.json"
    config.write_bytes(config.read_bytes() + b"\xff")
    with pytest.raises(
        cz.WeightsError, match=r"config\.json.*expected text in UTF-8, got byte \d+"
    ):
        cz.from_pretrained(tmp_path)
    config.unlink()
    os.mkfifo(config)
    with pytest.raises(cz.WeightsError, match=r"config\.json: expected a regular file, got a pipe"):
        cz.from_pretrained(tmp_path)


def test_a_graph_of_ones_own_takes_a_new_classifier_and_no_other_option(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    x = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    other = cz.from_pretrained(tmp_path, num_classes=5)
    assert other(x).shape == (2, 5)
    np.testing.assert_array_equal(other.embed(x), model.embed(x))
    np.testing.assert_array_equal(cz.from_pretrained(tmp_path, num_classes=3)(x), model(x))
    with pytest.raises(cz.ArgumentError, match=r"tiny: expected `num_classes` alone.*`image_size`"):
        cz.from_pretrained(tmp_path, num_classes=5, image_size=32)


@pytest.mark.parametrize(
    ("option", "changed"),
    [
        ("num_classes", {"num_classes": 4}),
        ("in_channels", {"model_args": {"in_chans": 1}}),
    ],
)
def test_a_config_of_other_sizes_than_the_weights_is_no_random_classifier(
    option: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    theirs: Any = timm.create_model("mobilenetv3_small_050", num_classes=3)
    save_for_hf(theirs, str(tmp_path), safe_serialization=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert cz.from_pretrained(tmp_path).num_classes == 3
    path.write_text(json.dumps({**config, **changed}))
    with pytest.raises(cz.WeightsError, match=f"{option}.*that of the weights, where"):
        cz.from_pretrained(tmp_path)
    # What is asked for is no fault.
    path.write_text(json.dumps(config))
    fresh = cz.from_pretrained(tmp_path, num_classes=5, in_channels=1)
    assert (fresh.num_classes, fresh.graph.input_shape[0]) == (5, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net", "a folder that exists, or a repository owner/name"),
        ("a/b/c", "owner/name"),
        ("../x", "owner/name"),
        ("", "owner/name"),
        (3, "a repository of the Hugging Face hub, or a folder"),
        ("me/net@", "a branch, tag or commit"),
        ("me/-x--", "a repository: "),
    ],
)
def test_wrong_names_are_refused(hub: FakeHub, name: Any, said: str) -> None:
    with pytest.raises(cz.ArgumentError, match=said):
        cz.from_pretrained(name)


def test_what_is_missing_is_told(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such repository, or it is private"):
        cz.from_pretrained("me/none")
    with pytest.raises(FileNotFoundError, match="expected a folder with a model"):
        cz.from_pretrained(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors or pytorch_model\.bin"):
        cz.from_pretrained(tmp_path)
    with pytest.raises(cz.ArgumentError, match="`token`: expected text, True, False or None, got"):
        cz.from_pretrained("me/none", token=3)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`metrics`"):
        small().save_pretrained(tmp_path, metrics={"top1": "high"})  # type: ignore[dict-item]
    with pytest.raises(cz.DeviceError, match="on meta"):
        cz.create_model("resnet18", meta=True).save_pretrained(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(cz.WeightsError, match="file"):
        small().save_pretrained(tmp_path / "file")


def test_without_huggingface_hub_folders_load_and_the_error_names_the_extra(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "import cnnzoo as cz\n"
        f"print(cz.from_pretrained({str(tmp_path)!r}).name)\n"
        "for name in ('me/net', 'timm/resnet18.a1_in1k'):\n"
        "    try:\n        cz.from_pretrained(name)\n"
        "    except Exception as error:\n        print(type(error).__name__, error)"
    )
    environment = {**os.environ, "CNNZOO_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    first, second, third = done.stdout.splitlines()
    assert first == small(meta=True).name
    assert second.startswith("MissingPackageError") and "'cnnzoo[hub]'" in second
    # Published weights need it not: they are only forbidden here.
    assert third.startswith("WeightsFileNotFoundError") and "CNNZOO_OFFLINE" in third


@pytest.mark.parametrize(
    ("mode", "said"), [("squash", "whatever their aspect ratio"), ("border", "with a border")]
)
def test_pictures_of_other_shapes_are_noticed(mode: str, said: str, tmp_path: Path) -> None:
    theirs: Any = timm.create_model("resnet18", num_classes=4)
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, "crop_mode": mode}
    save_for_hf(theirs, str(tmp_path), safe_serialization=True)
    with pytest.warns(cz.Notice, match=said):
        model = cz.from_pretrained(tmp_path)
    assert model.predict(Image.new("RGB", (30, 20)))
