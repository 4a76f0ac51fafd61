"""The reader of files of Keras, for the fuzzer: the one that runs in a process of its own."""

from __future__ import annotations

import io
import random

import h5py

import cnnzoo as cz
from fuzz.harness import EDGES, Reader
from fuzz.weights import in_file

MODEL = cz.create_model("mobilenet_v2_035", source="keras", num_classes=3, width=0.05)


def seeds() -> list[bytes]:
    """In the layouts of Keras: by names in attributes, below the model, compressed, numbered."""
    files = []
    arrays = dict(list(MODEL.state_dict(source="keras").items())[:12])
    for how in ("named", "below", "compressed", "numbered"):
        file = io.BytesIO()
        # Checksums, which the second layout of HDF5 has, would refuse most mutants.
        with h5py.File(file, "w", libver="earliest") as stored:
            at = stored.create_group("model_weights") if how == "below" else stored
            layers: dict[str, list[str]] = {}
            for path, array in arrays.items():
                layer, _, name = path.rpartition("/")
                layers.setdefault(layer, []).append(name)
                packed = {"compression": "gzip", "shuffle": True} if how == "compressed" else {}
                if how == "numbered":
                    group = at.require_group(f"layers/{layer}/vars")
                    group.attrs["name"] = layer
                    group[str(len(layers[layer]) - 1)] = array
                else:
                    at.create_dataset(f"{layer}/{layer}/{name}:0", data=array, **packed)
            if how != "numbered":
                at.attrs["layer_names"] = [layer.encode() for layer in layers]
                for layer, names in layers.items():
                    coded = [f"{layer}/{name}:0".encode() for name in names]
                    at[layer].attrs["weight_names"] = coded
        files.append(file.getvalue())
    return files


# Of headers of objects, heaps, trees and symbol tables, and of what stands in front of messages.
MARKS = [b"TREE", b"HEAP", b"SNOD", b"GCOL", b"\x89HDF"]


def rewrite(data: bytes, dice: random.Random) -> bytes:
    """A number near the head of a structure is one at the edges, or another address of the file."""
    mark = dice.choice(MARKS)
    places = [at for at in range(0, len(data), 8) if data.startswith(mark, at)]
    if dice.random() < 0.6 or not places:
        # Headers of objects have no mark: version 1, a count of messages, references, a size.
        places = [at for at in range(0, len(data), 8) if data[at : at + 2] == b"\x01\x00"]
    if not places:
        return data
    at = dice.choice(places) + dice.randrange(96)
    width = dice.choice((1, 2, 4, 8))
    value = dice.choice([*EDGES, dice.randrange(len(data)), dice.choice(places)])
    coded = (value % (1 << 8 * width)).to_bytes(width, "little")
    return data[:at] + coded + data[at + width :]


def read(path: object) -> None:
    MODEL.load_weights(str(path), strict=False)


# The process has ten seconds of work, which take longer where others work too.
READERS = {
    "h5": Reader(
        seeds=seeds(),
        read=in_file("m.h5", read),
        errors=["WeightsError"],
        rewrite=rewrite,
        patience=40,
    )
}
