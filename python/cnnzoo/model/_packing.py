"""Packing a model into plain values, for copies and pickles; and moving it to libtorch."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

from cnnzoo import _native
from cnnzoo._configuration import Configuration, damaged
from cnnzoo._copying import pack, unpack
from cnnzoo._package import need_libtorch
from cnnzoo.errors import DeviceError, MissingPackageError

if TYPE_CHECKING:
    from cnnzoo import _torch


def has_libtorch(engine: _native.Model) -> bool:
    """Whether an engine is that of the extension that is linked to libtorch."""
    return type(engine) is not _native.Model


def on_libtorch(engine: _native.Model, configuration: Configuration) -> _torch.Model:
    """A copy of our own engine in the extension that is linked to libtorch, which is loaded."""
    from cnnzoo import _torch

    moved = cast("_torch.Model", configuration.engine(_torch))
    moved.set_labels(engine.labels)
    if engine.device != "meta":
        moved.allocate(engine.device, None)
        # One by one, so that it takes the memory of one array more than that of both.
        for index in range(len(engine.graph().parameters())):
            moved.set_values(index, engine.values(index))
        if engine.is_quantized and configuration.quantization is not None:
            moved.set_quantization(configuration.quantization._given)
    return moved


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
    engine, configuration = _unpacked(packed), packed["configuration"]
    # That of an older version has none.
    quantization = getattr(configuration, "quantization", None)
    if quantization is not None and engine.device != "meta":
        engine.set_quantization(quantization._given)
    return engine


def _unpacked(packed: dict[str, Any]) -> _native.Model:
    """The packed network with its parameters."""
    configuration: Configuration = packed["configuration"]
    with damaged("a pickled model"):
        engine = configuration.engine()
    labels = configuration.labels
    engine.set_labels(None if labels is None else list(labels))
    if packed["device"] == "meta":
        return engine
    engine = _allocated(engine, configuration, packed["device"])
    arrays = {name: unpack(array) for name, array in packed["arrays"].items()}
    engine.load_state_dict(
        arrays, {}, configuration.source or "own", "strict", "a pickled model", None
    )
    if packed["frozen"]:
        try:
            need_libtorch("freezing")
        except MissingPackageError as error:
            name = configuration.name
            warnings.warn(f"{name} has no frozen parameters now: {error}", stacklevel=4)
            return engine
        if not has_libtorch(engine):
            engine = on_libtorch(engine, configuration)
        cast("_torch.Model", engine).set_trained(packed["frozen"], False)
    return engine


def _allocated(engine: _native.Model, configuration: Configuration, device: str) -> _native.Model:
    """The engine with parameters on a device; on the CPU, with a warning, where there is none."""
    if device != "cpu":
        try:
            need_libtorch(f"the device `{device}`")
            moved = on_libtorch(engine, configuration)
            moved.allocate(device, None)
        except (DeviceError, MissingPackageError) as error:
            warnings.warn(f"{configuration.name} is on the CPU now: {error}", stacklevel=5)
        else:
            return moved
    engine.allocate("cpu", None)
    return engine
