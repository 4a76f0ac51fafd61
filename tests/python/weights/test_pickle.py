"""Pickles made by hand: what attacks look like, and what only old versions of PyTorch wrote."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import torch

from cnnzoo import _native

Read = Callable[[bytes], _native.Checkpoint]

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
LITTLE = pickle.dumps({"little_endian": True, "protocol_version": 1001}, protocol=2)
BIG = pickle.dumps({"little_endian": False}, protocol=2)


def legacy(
    body: bytes, keys: tuple[str, ...] = (), data: bytes = b"", facts: bytes = LITTLE
) -> bytes:
    return MAGIC + PROTOCOL + facts + body + pickle.dumps(list(keys), protocol=2) + data


def zipped(body: bytes, data: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/version", "3\n")
        if data is not None:
            archive.writestr("archive/data/0", data)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path: pathlib.Path) -> Read:
    def write_and_read(content: bytes) -> _native.Checkpoint:
        path = tmp_path / "crafted.pth"
        path.write_bytes(content)
        return _native.read_checkpoint(path)

    return write_and_read


# Pieces of pickles


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tup(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def find(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def storage(kind: str = "FloatStorage", elements: int = 4, view: bytes = b"") -> bytes:
    parts = [text("storage"), find("torch", kind), text("0"), text("cpu"), number(elements)]
    return tup(*parts, *([view] if view else [])) + b"Q"


def tensor(
    of: bytes, offset: int = 0, shape: tuple[int, ...] = (4,), strides: tuple[int, ...] = (1,)
) -> bytes:
    sizes = (tup(*map(number, values)) for values in (shape, strides))
    arguments = tup(of, number(offset), *sizes, b"\x89", b"}")
    return find("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def state(**values: bytes) -> bytes:
    items = b"".join(text(name) + value for name, value in values.items())
    return b"\x80\x02}(" + items + b"u."


FLOATS = np.arange(4, dtype="<f4").tobytes()


def test_the_pieces_make_a_file_that_both_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "crafted.pth"

    def body(of: bytes) -> bytes:
        return state(a=tensor(of), b=tensor(of, 1, (2,), (2,)))

    old = legacy(body(storage(view=b"N")), ("0",), struct.pack("<q", 4) + FLOATS)
    for content in (zipped(body(storage()), FLOATS), old):
        path.write_bytes(content)
        ours, theirs = _native.read_checkpoint(path), torch.load(path, weights_only=True)
        assert ours["a"].tolist() == theirs["a"].tolist() == [0, 1, 2, 3]
        assert ours["b"].tolist() == theirs["b"].tolist() == [1, 3]


# Attacks


class Attack:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


ATTACKS = {
    "system": Attack(os.system, "touch pwned"),
    "eval": Attack(eval, "1"),
    "exec": Attack(exec, "1"),
    "getattr": Attack(getattr, "", "join"),
    "__import__": Attack(__import__, "os"),
    "Popen": Attack(subprocess.Popen, ["touch", "pwned"]),
    "loads": Attack(pickle.loads, b"N."),
    "load": Attack(torch.load, "pwned"),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("where", ["zip", "legacy", "first pickle", "nested", "storage keys"])
def test_calls_are_refused_by_name(read: Read, name: str, protocol: int, where: str) -> None:
    attack: object = ATTACKS[name]
    if where == "nested":
        attack = {"state_dict": {"a": [({"b": attack},)]}}
    body = pickle.dumps(attack, protocol=protocol)
    content = {
        "legacy": legacy(body),
        "first pickle": body,
        "storage keys": MAGIC + PROTOCOL + LITTLE + b"\x80\x02}." + body,
    }.get(where, zipped(body))
    with pytest.raises(ValueError, match=r"crafted\.pth.*tensors and plain data only") as caught:
        read(content)
    assert f".{name}`, which may run code" in str(caught.value)
    assert not pathlib.Path("pwned").exists()


OPCODES = {
    "INST": (b"(X\x01\x00\x00\x00aios\nsystem\n.", "`os.system`"),
    "INST of an allowed class": (b"(icollections\nOrderedDict\n.", "the opcode INST"),
    "OBJ": (b"(cos\nsystem\no.", "`os.system`"),
    "OBJ of an allowed class": (b"(ccollections\nOrderedDict\no.", "the opcode OBJ"),
    "NEWOBJ": (b"cos\nsystem\n)\x81.", "`os.system`"),
    "NEWOBJ_EX": (b"\x80\x04cos\nsystem\n)}\x92.", "`os.system`"),
    "STACK_GLOBAL": (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "`posix.system`"),
    "STACK_GLOBAL of numbers": (b"\x80\x04K\x01K\x02\x93.", "expected text, got the int 1"),
    "dotted": (b"\x80\x04\x8c\x05torch\x8c\x0a_C.xmalloc\x93.", "`torch._C.xmalloc`"),
    "through an allowed module": (b"ctorch\nload\n.", "`torch.load`"),
    "through storage": (b"ctorch\nos.systemStorage\n.", "`torch.os.systemStorage`"),
    "EXT1": (b"\x82\x01.", "the opcode EXT1"),
    "PERSID": (b"P1\n.", "the opcode PERSID"),
    "unknown": (b"\xff.", "the unknown opcode 0xff"),
    "BUILD on a class": (b"ccollections\nOrderedDict\n}b.", "an object with attributes"),
    "REDUCE of text": (text("a") + b")R.", "expected a function to call"),
    "REDUCE of a storage class": (b"ctorch\nFloatStorage\n)R.", "arguments of `a storage class"),
    "arguments of no tuple": (b"ccollections\nOrderedDict\nNR.", "expected a tuple, got None"),
    "too few arguments": (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "_rebuild_tensor_v2`"),
    "parameter of text": (
        find("torch._utils", "_rebuild_parameter") + tup(text("a"), b"\x88", b"}") + b"R.",
        "a tensor to make a parameter of",
    ),
    "rebuild of a rebuild": (
        find("torch._tensor", "_rebuild_from_type_v2")
        + tup(find("torch._tensor", "_rebuild_from_type_v2"), b"N", b")", b"N")
        + b"R.",
        "a function that rebuilds a tensor",
    ),
    "no storage": (tensor(b"N") + b".", "expected a storage, got None"),
    "not a storage class": (
        tup(text("storage"), find("torch", "float32"), text("0"), text("cpu"), number(1)) + b"Q.",
        "expected a storage class",
    ),
    "a pickled class": (tup(text("module"), find("os", "system"), b"N", b"N") + b"Q.", "os.system"),
    "empty stack": (b"R.", "an object on the stack"),
    "empty": (b".", "an object on the stack"),
    "below the mark": (b"N(R.", "an object on the stack"),
    "no mark": (b"Nt.", "a mark on the stack"),
    "memo slot": (b"h\x07.", "a memo slot that is set"),
    "odd items": (b"}(Nu.", "a value for each key"),
    "append to a dict": (b"}Na.", "expected a list to append to"),
    "items of a list": (b"]NNs.", "expected a dict to put items into"),
    "long text": (b"X\xff\xff\xff\xffabc", "expected a complete pickle, got its end"),
    "very long bytes": (b"\x8e" + b"\xff" * 8, "expected a complete pickle, got its end"),
    "no stop": (b"N", "expected a complete pickle, got its end"),
    "protocol": (b"\x80\x06N.", "pickle protocol 5 or lower, got 6"),
    "text of other bytes": (b"X\x02\x00\x00\x00\xff\xff.", "text in UTF-8"),
}


@pytest.mark.parametrize("name", OPCODES)
def test_crafted_opcodes(read: Read, name: str) -> None:
    body, message = OPCODES[name]
    for content in (zipped(body), legacy(body)):
        with pytest.raises(ValueError, match=r"crafted\.pth: expected") as caught:
            read(content)
        assert message in str(caught.value)


HUGE = 2**63 - 1
TENSORS = {
    "offset outside": tensor(storage(), 1),
    "offset at the end": tensor(storage(), 4, (1,), (1,)),
    "huge offset": tensor(storage(), HUGE),
    "stride outside": tensor(storage(), 0, (2,), (4,)),
    "huge stride": tensor(storage(), 0, (2, 2), (HUGE, HUGE)),
    "huge shape": tensor(storage(), 0, (HUGE, HUGE), (0, 0)),
    "expanded beyond the file": tensor(storage(), 0, (1 << 19,), (0,)),
    "negative offset": tensor(storage(), -1),
    "negative size": tensor(storage(), 0, (-4,), (1,)),
    "negative stride": tensor(storage(), 3, (4,), (-1,)),
    "fewer strides": tensor(storage(), 0, (2, 2), (1,)),
    "65 dimensions": tensor(storage(), 0, (1,) * 65, (1,) * 65),
    "storage larger than its bytes": tensor(storage(elements=5), 0, (5,), (1,)),
    "huge storage": tensor(storage(elements=HUGE)),
    "negative storage": tensor(storage(elements=-1)),
    "wider type": tensor(storage("DoubleStorage"), 0, (4,), (1,)),
    "size of text": find("torch._utils", "_rebuild_tensor")
    + tup(storage(), number(0), text("ab"), tup(number(1)))
    + b"R",
    "size of itself": find("torch._utils", "_rebuild_tensor")
    + tup(storage(), number(0), b"]q\x01h\x01a", tup(number(1)))
    + b"R",
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_outside_of_their_storage(read: Read, name: str) -> None:
    body = state(a=TENSORS[name])
    for content in (zipped(body, FLOATS), legacy(body, ("0",), struct.pack("<q", 4) + FLOATS)):
        with pytest.raises(ValueError, match=r"crafted\.pth"):
            read(content)


def test_a_storage_that_is_not_there(read: Read) -> None:
    with pytest.raises(ValueError, match="`a`: expected a storage with the key 0, got none"):
        read(zipped(state(a=tensor(storage()))))


def test_a_name_twice(read: Read) -> None:
    one = tensor(storage())
    body = b"\x80\x02}(" + text("a") + one + text("a") + one + b"u."
    with pytest.raises(ValueError, match="`a`: expected each name once"):
        read(zipped(body, FLOATS))


# The legacy format


def test_views_of_storages_as_old_versions_wrote_them(read: Read) -> None:
    whole = storage(elements=6)
    view = storage(elements=6, view=tup(text("1"), number(2), number(3)))
    body = state(a=tensor(whole, 0, (6,)), b=tensor(view, 1, (2,)))
    data = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes()
    checkpoint = read(legacy(body, ("0",), data))
    assert checkpoint["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert checkpoint["b"].tolist() == [3, 4]
    outside = storage(elements=6, view=tup(text("1"), number(4), number(3)))
    with pytest.raises(ValueError, match="a view inside of a storage of 6 elements"):
        read(legacy(state(b=tensor(outside, 0, (1,))), ("0",), data))
    with pytest.raises(ValueError, match="inside of its storage of 12 bytes"):
        read(legacy(state(b=tensor(view, 1, (3,))), ("0",), data))


def test_ordered_dicts_and_text_as_python_2_wrote_them(read: Read) -> None:
    pair = b"](" + b"U\x09" + b"fc.weight" + tensor(storage()) + b"e"
    body = b"\x80\x02" + find("collections", "OrderedDict") + tup(b"](" + pair + b"e") + b"R."
    checkpoint = read(legacy(body, ("0",), struct.pack("<q", 4) + FLOATS))
    assert checkpoint["fc.weight"].tolist() == [0, 1, 2, 3]


LEGACY = {
    "behind": (
        legacy(state(a=tensor(storage())), ("0",), struct.pack("<q", 4) + FLOATS + b"x"),
        "1 bytes more",
    ),
    "count": (
        legacy(state(a=tensor(storage())), ("0",), struct.pack("<q", 3) + FLOATS),
        "expected 4 elements, got 3",
    ),
    "negative count": (
        legacy(state(a=tensor(storage())), ("0",), struct.pack("<q", -1)),
        "expected 4 elements",
    ),
    "cut": (
        legacy(state(a=tensor(storage())), ("0",), struct.pack("<q", 4) + FLOATS[1:]),
        "the file's end",
    ),
    "cut count": (legacy(state(a=tensor(storage())), ("0",), b"\x04"), "the file's end"),
    "unknown storage": (legacy(state(a=b"N"), ("1",)), "one that it does not name"),
    "storage twice": (
        legacy(state(a=tensor(storage())), ("0", "0"), (struct.pack("<q", 4) + FLOATS) * 2),
        "expected each storage once",
    ),
    "no storages": (legacy(state(a=tensor(storage()))), "a storage with the key 0"),
    "big-endian": (legacy(state(), facts=BIG), "a big-endian one"),
    "version": (
        MAGIC + b"\x80\x02K\x01." + LITTLE,
        "version 1001 of the file format, got the int 1",
    ),
}


@pytest.mark.parametrize("name", LEGACY)
def test_damaged_legacy_files(read: Read, name: str) -> None:
    content, message = LEGACY[name]
    with pytest.raises(ValueError, match=r"crafted\.pth") as caught:
        read(content)
    assert message in str(caught.value)


# Bombs


def nested(opcode: bytes, depth: int) -> bytes:
    return b"\x80\x02)" + opcode * depth + b"."


def laughs(depth: int) -> bytes:
    """A list of ten times the list before, again and again: ten to the power of `depth`."""
    level = b"q\x01](" + b"h\x01" * 10 + b"e"
    return b"\x80\x02]" + level * depth + b"."


def cycle() -> bytes:
    return state(model=b"}q\x01(" + text("model") + b"h\x01" + text("net") + b"h\x01u")


BOMBS = {
    "deep tuples": nested(b"\x85", 1_000_000),
    "deep lists": b"\x80\x02" + b"](" * 500_000 + b"e" * 500_000 + b".",
    "deep dicts": b"\x80\x02" + b"}(N" * 500_000 + b"N" + b"u" * 500_000 + b".",
    "deep containers": b"\x80\x02" + (b"}(" + text("model")) * 50_000 + b"N" + b"u" * 50_000 + b".",
    "laughs": laughs(200_000),
    "marks": b"(" * 5_000_000,
    "nones": b"N" * 9_000_000,
    "lists": b"]" * 9_000_000,
    "memo": b"N" + b"".join(b"r" + struct.pack("<I", slot * 77773) for slot in range(50_000)),
    "a list in itself": b"\x80\x02]q\x01h\x01a.",
    "a state dict in itself": cycle(),
    "many models": b"\x80\x02}q\x01(" + (text("model") + b"h\x01") * 100_000 + b"u.",
    "a tuple copied often": b"\x80\x02("
    + b"N" * 100_000
    + b"tq\x01"
    + (find("collections", "OrderedDict") + b"h\x01R0") * 100_000
    + b".",
    "pairs copied often": b"\x80\x02((NNtq\x02"
    + b"h\x02" * 100_000
    + b"tq\x01"
    + (find("collections", "OrderedDict") + b"h\x01\x85R") * 100_000
    + b".",
}


def test_bombs_do_not_go_off(tmp_path: pathlib.Path) -> None:
    """Each is refused, in a process that may take no more than 768 MiB and 60 seconds."""
    resource = pytest.importorskip("resource")
    del resource
    for index, body in enumerate(BOMBS.values()):
        (tmp_path / f"{index}-zip.pth").write_bytes(zipped(body))
        (tmp_path / f"{index}-legacy.pth").write_bytes(legacy(body))
    program = """
        import pathlib, resource, sys, time
        from cnnzoo import _native
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (768 << 20),) * 2)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            start = time.perf_counter()
            try:
                _native.read_checkpoint(path)
            except ValueError as error:
                print(path.name, f"{time.perf_counter() - start:.2f} s", str(error)[-120:])
            else:
                raise SystemExit(f"{path} was read")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2 * len(BOMBS)
    print(done.stdout)
