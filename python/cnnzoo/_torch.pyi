"""The extension that is linked to libtorch: models that train, and training. Not for users.

A model has all methods of `_native.Model`, from which it is not derived at run time.
"""

import os
from collections.abc import Callable
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from cnnzoo import _native
from cnnzoo._native import (
    Checkpoint,
    Graph,
    Tuner,
    algorithms,
    get_num_threads,
    instructions,
    offers,
    read_checkpoint,
    set_num_threads,
    write_safetensors,
)

_Remembered: TypeAlias = tuple[
    str, int, list[tuple[str, NDArray[np.float32]]], NDArray[np.float32] | None
]

__all__ = [
    "Checkpoint",
    "Graph",
    "Loss",
    "Mixing",
    "Model",
    "Optimizer",
    "Run",
    "Segments",
    "Tuner",
    "_after_fork",
    "adopt",
    "algorithms",
    "assess",
    "forward",
    "generation",
    "get_num_threads",
    "gradients",
    "instructions",
    "not_finite",
    "offers",
    "read_checkpoint",
    "save_run",
    "set_num_threads",
    "share",
    "train_step",
    "write_safetensors",
]

def _after_fork() -> None: ...

@disjoint_base
class Model(_native.Model):
    def pull_back(
        self, x: ArrayLike, cotangent: ArrayLike, training: bool, precision: str, seed: int
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]: ...
    def set_trained(self, patterns: list[str], trained: bool) -> None: ...
    def average_from(self, other: Model, decay: float, average_buffers: bool) -> None: ...

@final
class Optimizer:
    def __new__(
        cls,
        rule: str,
        numbers: dict[str, Any],
        weight_decay: float,
        norm_weight_decay: float | None,
        bias_weight_decay: float | None,
        layer_decay: float | None,
        groups: list[tuple[list[str], float, float | None]],
    ) -> Optimizer: ...
    def rates(self, model: Model) -> list[tuple[str, float, float]]: ...
    def memory(self, model: Model) -> list[_Remembered]: ...
    def recall(
        self, model: Model, memories: list[_Remembered], waiting: tuple[int, int]
    ) -> None: ...
    def waiting(self) -> tuple[int, int]: ...
    def drop_waiting(self) -> None: ...
    def apply(
        self,
        model: Model,
        gradients: list[tuple[str, ArrayLike]],
        lr: float,
        clip_norm: float | None,
        clip_value: float | None,
    ) -> float: ...
    def flush(
        self, model: Model, lr: float, clip_norm: float | None, clip_value: float | None
    ) -> float | None: ...

@final
class Loss:
    def __new__(
        cls,
        binary: bool,
        label_smoothing: float,
        class_weights: list[float] | None,
        auxiliary: float | None,
    ) -> Loss: ...
    def fits(self, num_classes: int) -> None: ...

@final
class Mixing:
    def __new__(cls, mixup: float, cutmix: float) -> Mixing: ...
    def draw(
        self, height: int, width: int, seed: int, epoch: int, batch: int
    ) -> tuple[float, tuple[int, int, int, int] | None] | None: ...
    def apply(
        self,
        x: ArrayLike,
        y: ArrayLike,
        num_classes: int | None,
        seed: int,
        epoch: int,
        batch: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

@final
class Segments:
    def __new__(
        cls,
        model: Model,
        x: torch.Tensor,
        generation: int,
        nodes: list[str] | None,
        auxiliary: bool,
        training: list[int],
        seed: int,
    ) -> Segments: ...
    @property
    def image(self) -> str: ...
    @property
    def wanted(self) -> list[str]: ...
    @property
    def borders(self) -> list[tuple[list[str], list[str]]]: ...
    def run(
        self, model: Model, place: int, inputs: list[torch.Tensor], again: bool
    ) -> list[torch.Tensor]: ...

def adopt(model: Model) -> None: ...
def forward(
    model: Model,
    x: torch.Tensor,
    generation: int,
    nodes: list[str] | None,
    auxiliary: bool,
    training: list[int],
    seed: int,
    watched: list[tuple[str, list[str]]],
    watch: Callable[[int, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor | None] | None,
) -> list[torch.Tensor]: ...
def generation(model: Model) -> int: ...
def share(model: Model) -> list[tuple[str, bool, torch.Tensor]]: ...
def gradients(
    model: Model,
    x: ArrayLike,
    classes: list[int],
    cotangent: ArrayLike | None,
    nodes: list[str],
    output: str | None,
    guided: bool,
    precision: str,
) -> tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    list[tuple[NDArray[np.float32], NDArray[np.float32]]],
]: ...
def not_finite(model: Model, x: ArrayLike | None, precision: str, seed: int) -> str | None: ...
def train_step(
    model: Model,
    optimizer: Optimizer,
    x: ArrayLike,
    y: ArrayLike,
    loss: Loss | Callable[[NDArray[np.float32]], tuple[float, float, NDArray[np.float32]]],
    lr: float,
    accumulate: int,
    clip_norm: float | None,
    clip_value: float | None,
    precision: str,
    seed: int,
    among: tuple[Callable[[torch.Tensor], torch.Tensor], bool, bool] | None = None,
) -> tuple[float, float, int, int, float | None]: ...
def assess(
    model: Model, x: ArrayLike, y: ArrayLike, loss: Loss | None, precision: str
) -> tuple[float, float, NDArray[np.float32]]: ...
def save_run(
    path: str | os.PathLike[str],
    model: Model,
    average: Model | None,
    optimizer: Optimizer,
    text: str,
) -> None: ...

@final
class Run:
    @staticmethod
    def open(path: str | os.PathLike[str]) -> Run: ...
    @property
    def text(self) -> str: ...
    def expect(self, model: Model, averaged: bool) -> None: ...
    def restore(
        self,
        model: Model,
        average: Model | None,
        optimizer: Optimizer,
        waiting: tuple[int, int],
    ) -> None: ...
