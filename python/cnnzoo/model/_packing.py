"""Packing a model into plain values, for copies and pickles."""

from __future__ import annotations

import warnings
from typing import Any

from cnnzoo import _native
from cnnzoo._configuration import Configuration, damaged
from cnnzoo._copying import pack, unpack
from cnnzoo._package import need_libtorch
from cnnzoo.errors import DeviceError, MissingPackageError


def pack_model(engine: _native.Model, configuration: Configuration) -> dict[str, Any]:
    """Pack a network with its parameters into plain values."""
    if engine.device == "meta":
        return {"configuration": configuration, "device": "meta"}
    trained = set(engine.trained())
    trains = (name for name, _, is_trained in engine.graph().parameters() if is_trained)
    return {
        "configuration": configuration,
        "device": engine.device,
        "arrays": {name: pack(array) for name, array in engine.state_dict().items()},
        "frozen": [name for name in trains if name not in trained],
    }


def unpack_model(packed: dict[str, Any]) -> _native.Model:
    """Rebuild a packed network; on the CPU where its device is missing.

    Raises:
        WeightsError: The packed values describe no network.
    """
    configuration: Configuration = packed["configuration"]
    with damaged("a pickled model"):
        engine = configuration.engine()
    labels = configuration.labels
    engine.set_labels(None if labels is None else list(labels))
    if packed["device"] == "meta":
        return engine
    try:
        engine.allocate(packed["device"], 0)
    except DeviceError as error:
        if packed["device"] == "cpu":
            raise
        warnings.warn(f"{configuration.name} is on the CPU now: {error}", stacklevel=4)
        engine.allocate("cpu", 0)
    arrays = {name: unpack(array) for name, array in packed["arrays"].items()}
    engine.load_state_dict(
        arrays, {}, configuration.source or "own", "strict", "a pickled model", None
    )
    if packed["frozen"]:
        try:
            need_libtorch("freezing")
        except MissingPackageError as error:
            warnings.warn(
                f"{configuration.name} has no frozen parameters now: {error}", stacklevel=4
            )
        else:
            engine.set_trained(packed["frozen"], False)
    return engine
