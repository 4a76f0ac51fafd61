"""Changes with a meaning in their format: of JSON, of text, of pickles."""

from __future__ import annotations

import copy
import pickletools
import random
from collections.abc import Sequence
from typing import Any

from forged import OTHERS
from fuzz.harness import EDGES

ELEMENTS = ["F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U64", "U8", "F8_E4M3", "F4", "f32"]
WORDS = ["a", "fc.weight", "conv1.weight", "model", "-1", "1e400", "\x00", "ä", "x" * 5000]
WORDS += ["F16", "BOOL", "default", "auto", "meta", "cuda", "relu", "conv", "input"]


def number(dice: random.Random, near: int = 0) -> int:
    """At an edge of what headers hold, or near another."""
    if dice.random() < 0.4:
        return near + dice.choice((-1, 1, 2, 4, 8))
    return dice.choice(EDGES) * dice.choice((1, 1, 1, -1))


def json(value: Any, dice: random.Random) -> Any:
    """Plain values with one changed, left out, doubled or moved."""
    whole = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(at: Any) -> None:
        keys = at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            places.append((at, key))
            walk(at[key])

    walk(whole)
    if not places:
        return dice.choice(OTHERS)
    at, key = dice.choice(places)
    old, kind = at[key], dice.randrange(8)
    if kind == 0:
        del at[key]
    elif kind == 1:
        at[key] = copy.deepcopy(dice.choice(OTHERS))
    elif kind == 2:
        other, there = dice.choice(places)
        if there in other if isinstance(other, dict) else there < len(other):
            at[key] = copy.deepcopy(other[there])
    elif kind == 3 and isinstance(at, dict):
        at[dice.choice(WORDS)] = copy.deepcopy(old)
    elif kind == 3:
        at.insert(key, copy.deepcopy(old))
    elif isinstance(old, bool | None):
        at[key] = dice.choice((True, False, None))
    elif isinstance(old, int):
        at[key] = number(dice, old)
    elif isinstance(old, float):
        at[key] = dice.choice(
            (-old, 0.0, 1e308, 5e-324, -1.0, 2.0, old * 10, int(dice.choice(EDGES)))
        )
    elif isinstance(old, str):
        at[key] = dice.choice([*WORDS, *ELEMENTS, text(old, dice)])
    elif isinstance(old, list):
        dice.shuffle(old)
    return whole


def text(whole: str, dice: random.Random) -> str:
    """A text with a word changed, or a line left out, doubled or moved."""
    lines = whole.split("\n")
    at = dice.randrange(len(lines))
    kind = dice.randrange(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = [lines[at]] * dice.choice((1, 2, 300))
    elif kind == 2:
        lines.insert(dice.randrange(len(lines)), lines.pop(at))
    else:
        words = lines[at].split(" ")
        place = dice.randrange(len(words))
        name, equals, value = words[place].partition("=")
        if kind == 3:
            del words[place]
        elif kind == 4:
            words.insert(place, dice.choice(whole.split()) if whole.split() else "x")
        elif equals and value.isdigit():
            words[place] = f"{name}={number(dice, int(value))}"
        elif kind == 5:
            words[place] = dice.choice(whole.split() or WORDS)
        else:
            words[place] = f"{name}{equals}{dice.choice(WORDS)}"
        lines[at] = " ".join(words)
    return "\n".join(lines)


Opcode = tuple[str, Any, bytes]


def opcodes(data: bytes, pickles: int = 1) -> tuple[list[Opcode], bytes]:
    """The opcodes of pickles, each with its argument and bytes, and what is behind them."""
    found: list[Opcode] = []
    at = 0
    for _ in range(pickles):
        steps = [
            (opcode.name, argument, place or 0)
            for opcode, argument, place in pickletools.genops(data[at:])
        ]
        ends = [place for _, _, place in steps[1:]] + [steps[-1][2] + 1]
        for (name, argument, place), end in zip(steps, ends, strict=True):
            found.append((name, argument, data[at + place : at + end]))
        at += ends[-1]
    return found, data[at:]


def integer(value: int) -> bytes:
    """The opcode of a number."""
    if 0 <= value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def unicode(value: str) -> bytes:
    """The opcode of a text."""
    coded = value.encode("utf-8", "surrogatepass")
    return b"X" + len(coded).to_bytes(4, "little") + coded


STORAGES = ["Float", "Double", "Half", "BFloat16", "Long", "Bool"]
GLOBALS = [f"torch\n{kind}Storage\n" for kind in STORAGES]
GLOBALS += ["torch\nUntypedStorage\n", "torch\nQInt8Storage\n", "torch\nComplexFloatStorage\n"]
GLOBALS += ["torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n"]
GLOBALS += ["collections\nOrderedDict\n", "builtins\ndict\n", "builtins\nset\n", "os\nsystem\n"]
GLOBALS += ["torch._utils\n_rebuild_tensor\n", "torch\nSize\n", "_codecs\nencode\n"]
GLOBALS += ["numpy.core.multiarray\n_reconstruct\n", "numpy\nndarray\n", "numpy\ndtype\n"]
SINGLE = b"(.012NQR}]les atubopq)\x81\x85\x86\x87\x88\x89\x90\x91\x93\x94"


def pickled(steps: Sequence[Opcode], dice: random.Random) -> bytes:
    """A pickle with one or a few opcodes changed."""
    changed = [code for _, _, code in steps]
    at = dice.randrange(len(steps))
    name, argument, code = steps[at]
    kind = dice.randrange(9)
    if kind == 0:
        del changed[at : at + dice.choice((1, 1, 2, 5))]
    elif kind == 1:
        changed[at:at] = changed[at : at + dice.choice((1, 1, 2, 9))] * dice.choice((1, 2, 2000))
    elif kind == 2:
        changed[at] = dice.choice(changed)
    elif kind == 3:
        changed[at] = bytes([dice.choice(SINGLE)])
    elif kind == 4:
        changed[at] = dice.choice((b"q", b"h", b"\x8c", b"C", b"U", b"\x95")) + bytes(
            [dice.randrange(4)]
        )
    else:
        # Mostly what has a meaning of its own: counts, names and places.
        wanted = ("INT", "LONG", "UNICODE", "GLOBAL", "GET", "STRING", "BYTES")[dice.randrange(7)]
        places = [i for i, (other, _, _) in enumerate(steps) if wanted in other]
        at = dice.choice(places or [at])
        name, argument, code = steps[at]
        if name == "GLOBAL":
            changed[at] = b"c" + dice.choice(GLOBALS).encode()
        elif "GET" in name or "PUT" in name:
            changed[at] = code[:1] + bytes([dice.randrange(256)]) + code[2:]
        elif isinstance(argument, int) and not isinstance(argument, bool):
            changed[at] = integer(number(dice, argument))
        elif isinstance(argument, str):
            others = [other for _, other, _ in steps if isinstance(other, str)]
            changed[at] = unicode(dice.choice([*others, *WORDS]))
        else:
            changed[at] = integer(number(dice))
    return b"".join(changed)
