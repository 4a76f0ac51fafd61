"""The extension module: what the Python package is built on. Not for users."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from cnnzoo.diagram import Diagram, Level, Theme
from cnnzoo.errors import DataError

_SummaryRow: TypeAlias = tuple[
    str,
    str,
    list[str],
    list[int],
    int,
    int,
    int,
    tuple[int, int] | None,
    tuple[int, int] | None,
]

_ProfileRow: TypeAlias = tuple[str, list[str], list[str], list[int], list[str], float, int]

_Layer: TypeAlias = tuple[
    Sequence[int],
    Sequence[int],
    Sequence[int],
    int,
    Sequence[int],
    int,
    int,
    Sequence[int],
]

__all__ = [
    "PHOTO_SUFFIXES",
    "Checkpoint",
    "Dataset",
    "Epoch",
    "Graph",
    "Loader",
    "Model",
    "Preprocess",
    "Transform",
    "Tuner",
    "_after_fork",
    "accepted_names",
    "algorithms",
    "apply_operation",
    "decode_photo",
    "draw",
    "editions",
    "get_num_threads",
    "image_sizes",
    "instructions",
    "list_photos",
    "model_info",
    "model_names",
    "offers",
    "preprocess",
    "published_weights",
    "read_checkpoint",
    "resize_photo",
    "set_num_threads",
    "write_safetensors",
]

PHOTO_SUFFIXES: tuple[str, ...]

def _after_fork() -> None: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def model_names() -> list[str]: ...
def accepted_names() -> list[str]: ...
def editions() -> list[tuple[str, str, str]]: ...
def model_info(name: str, source: str | None = None) -> dict[str, Any]: ...
def image_sizes(name: str, source: str | None = None) -> dict[str, Any]: ...
def preprocess(name: str, source: str | None = None) -> dict[str, Any]: ...
def published_weights(
    name: str, source: str | None = None
) -> list[tuple[str, str, dict[str, Any], str, str, str]]: ...
def draw(name: str, source: str | None = None, options: str = "{}") -> Graph: ...
def read_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint: ...
def write_safetensors(
    path: str | os.PathLike[str], tensors: dict[str, Any], *, metadata: dict[str, str] | None = None
) -> None: ...
def list_photos(folder: str | os.PathLike[str]) -> tuple[list[str], list[DataError]]: ...
def decode_photo(
    path_or_bytes: str | os.PathLike[str] | bytes | tuple[bytes, str],
    *,
    orientation: bool = True,
) -> NDArray[np.uint8]: ...
def resize_photo(
    array: NDArray[np.uint8], width: int, height: int, interpolation: str
) -> NDArray[np.uint8]: ...
def apply_operation(
    array: NDArray[np.uint8], operation: str, channels: int
) -> NDArray[np.uint8]: ...

@final
class Graph:
    """An architecture as data: named nodes in the order in which they run."""

    @staticmethod
    def parse(text: str) -> Graph:
        """Parse the text form and check every rule.

        Raises:
            GraphError: A line does not parse, or a node breaks a rule.
        """
    @property
    def name(self) -> str:
        """The name of the network."""
    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the image that the graph is drawn for."""
    def nodes(self) -> list[str]:
        """Names of all nodes, in the order in which they run."""
    def pyramid(self) -> list[str]:
        """Names of the last node of each resolution, the finest first."""
    def attentions(self) -> list[tuple[str, str, int]]:
        """(node, node of queries, keys and values, number of heads) of attentions of tokens."""
    def first_convolutions(self) -> list[str]:
        """Names of the convolutions that read the image."""
    def focus(self) -> str | None:
        """The last value that says where in the image something is."""
    def find(self, node: str) -> str:
        """The name of a node, or of the last node below a path.

        Raises:
            ArgumentError: There is no such node.
        """
    def grid(self, node: str, height: int, width: int) -> tuple[int, int, int] | None:
        """(tokens before the grid, rows, columns) of a node's value; none of a vector."""
    def field(
        self, node: str, cell: tuple[int, int], height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        """(top, bottom, left, right) of the pixels that a cell depends on; none if on all.

        Raises:
            ArgumentError: The node has no such cell.
        """
    def rows(self, height: int, width: int) -> list[_SummaryRow]:
        """A row for every node that the logits need, for one image of this size."""
    def parameters(self) -> list[tuple[str, list[int], bool]]:
        """(name, shape, trained) of every array, in the order of the state dict."""
    def owners(self) -> list[str]:
        """The node of every array, in the order of the state dict."""
    def operations(self) -> list[tuple[str, str, list[str], str]]:
        """(name, op, inputs, fields as a JSON object) of every node, also of auxiliary ones."""
    def shapes(self, height: int, width: int) -> list[list[int] | None]:
        """The shape of every node's value for one image of this size.

        It is None for a node that the logits do not need and that does not take so small an image.
        """
    def parts(self) -> list[tuple[str, str, int, int]]:
        """(kind, name, first node, node after the last) of every part, outer ones first."""
    @property
    def output(self) -> str:
        """The node that holds the logits."""
    @property
    def auxiliary(self) -> list[str]:
        """The nodes that hold the logits of auxiliary classifiers."""
    def diagram(
        self,
        *,
        level: Level = "block",
        x_shape: Sequence[int] | None = None,
        part: str | None = None,
        theme: Theme = "auto",
    ) -> Diagram:
        """Draw the graph, as `Model.diagram` does."""
    def _repr_svg_(self) -> str: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...
    def __eq__(self, value: object, /) -> bool: ...

@disjoint_base
class Model:
    def __new__(
        cls, name: str, source: str | None, options: str, device: str, seed: int
    ) -> Model: ...
    @property
    def name(self) -> str: ...
    @staticmethod
    def from_graph(graph: Graph, device: str, seed: int) -> Model: ...
    @property
    def labels(self) -> list[str] | None: ...
    def set_labels(self, labels: list[str] | None) -> None: ...
    def classify(
        self, x: ArrayLike, *, alone: bool = False, precision: str = "float32"
    ) -> tuple[NDArray[np.float32], list[str] | None]: ...
    def expect(self, checkpoint: Checkpoint, policy: str) -> None: ...
    def allocate(self, device: str, seed: int | None) -> None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def source_name(self) -> str | None: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def options(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def embedding(self) -> str: ...
    def graph(self) -> Graph: ...
    def run(
        self,
        x: ArrayLike,
        nodes: list[str] | None = None,
        exact: bool = False,
        precision: str = "float32",
    ) -> list[NDArray[np.float32]]: ...
    def plan(self, shape: Sequence[int], precision: str) -> str: ...
    @property
    def accuracy(self) -> str: ...
    def set_accuracy(self, accuracy: str) -> None: ...
    def tuner(self, shape: Sequence[int]) -> Tuner: ...
    def choose(self, algorithms: Sequence[tuple[_Layer, str]]) -> None: ...
    def profile(
        self, x: ArrayLike, repeats: int, precision: str
    ) -> tuple[list[_ProfileRow], float, float, int]: ...
    @property
    def is_quantized(self) -> bool: ...
    def quantize(
        self, x: ArrayLike, most_error: float, progress: Callable[[int, int], object]
    ) -> tuple[list[tuple[str, float, bool]], float, list[tuple[str, float, float]]]: ...
    def set_quantization(
        self,
        quantization: tuple[Sequence[tuple[str, float, float]], Sequence[tuple[str, bool]]] | None,
    ) -> None: ...
    def trained(self) -> list[str]: ...
    def to(self, device: str) -> None: ...
    def copy(self) -> Model: ...
    def reset_classifier(self, num_classes: int, seed: int) -> None: ...
    def state_dict(self) -> dict[str, NDArray[Any]]: ...
    def values(self, index: int) -> NDArray[np.float32] | int: ...
    def set_values(self, index: int, values: NDArray[np.float32] | int) -> None: ...
    def load_state_dict(
        self,
        arrays: dict[str, NDArray[Any]],
        others: dict[str, str],
        naming: str,
        policy: str,
        origin: str,
        prefix: str | None,
    ) -> dict[str, Any]: ...
    def load_weights(
        self,
        checkpoint: Checkpoint,
        naming: str,
        policy: str,
        prefix: str | None,
        *,
        stay: bool = False,
    ) -> dict[str, Any]: ...
    def names_in(self, source: str) -> list[tuple[str, str, list[int]]]: ...
    def keras_variables(
        self,
    ) -> list[tuple[str, list[int], str, list[int], list[int], list[int]]]: ...
    def save(
        self, path: str | os.PathLike[str], metadata: dict[str, str], precision: str
    ) -> None: ...
    def export_onnx(
        self,
        path: str | os.PathLike[str],
        choices: dict[str, Any],
        progress: Callable[[int, int], None],
    ) -> tuple[list[os.PathLike[str]], list[int | str], list[int | str]]: ...

@final
class Checkpoint:
    @staticmethod
    def open(path: str | os.PathLike[str]) -> Checkpoint: ...
    def names(self) -> list[str]: ...
    def keys(self) -> list[str]: ...
    def dtypes(self) -> dict[str, str]: ...
    def __getitem__(self, key: str, /) -> NDArray[Any]: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def provenance(self) -> str: ...
    @property
    def ignored(self) -> list[tuple[str, str]]: ...

@final
class Preprocess:
    def __new__(
        cls,
        *,
        resize: int = ...,
        crop: int = ...,
        interpolation: str = ...,
        mean: tuple[float, float, float] = ...,
        std: tuple[float, float, float] = ...,
    ) -> Preprocess: ...
    @property
    def resize(self) -> int: ...
    @property
    def crop(self) -> int: ...
    @property
    def interpolation(self) -> str: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...
    def apply_array(self, array: ArrayLike, *, grey: bool = ...) -> NDArray[np.float32]: ...
    def placement(
        self, height: int, width: int
    ) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]: ...
    def apply_file(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | tuple[bytes, str],
        *,
        orientation: bool = ...,
        grey: bool = ...,
    ) -> NDArray[np.float32]: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Transform:
    def __new__(cls, steps: str, channels: int | None = None) -> Transform: ...
    @property
    def channels(self) -> int: ...
    def shape(self, height: int, width: int) -> list[int]: ...
    def draw(self, height: int, width: int, seed: int, epoch: int, index: int) -> str: ...
    def apply_array(
        self, array: ArrayLike, seed: int, epoch: int, index: int
    ) -> NDArray[np.float32]: ...
    def apply_file(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | tuple[bytes, str],
        seed: int,
        epoch: int,
        index: int,
        *,
        orientation: bool = ...,
    ) -> NDArray[np.float32]: ...

@final
class Dataset:
    @staticmethod
    def image_folder(root: str | os.PathLike[str], allow_empty: bool) -> Dataset: ...
    @staticmethod
    def files(
        root: str | os.PathLike[str],
        paths: Sequence[str | os.PathLike[str]],
        labels: NDArray[np.int64],
        classes: Sequence[str] | None,
    ) -> Dataset: ...
    @staticmethod
    def arrays(
        name: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: Sequence[str] | None,
    ) -> Dataset: ...
    @staticmethod
    def idx(
        images: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        classes: Sequence[str] | None,
    ) -> Dataset: ...
    @staticmethod
    def cifar(
        files: Sequence[str | os.PathLike[str]], labels: str, names: str | os.PathLike[str]
    ) -> Dataset: ...
    def subset(self, indices: Sequence[int]) -> Dataset: ...
    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]: ...
    def read(self, index: int, *, orientation: bool = True) -> NDArray[np.uint8]: ...
    def label(self, index: int) -> int: ...
    def name(self, index: int) -> str: ...
    def labels(self) -> NDArray[np.int64]: ...
    def classes(self) -> list[str]: ...
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...

@final
class Loader:
    def __new__(
        cls,
        dataset: Dataset,
        transform: Any,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        threads: int | None,
        prefetch: int | None,
        on_error: str,
        share: tuple[int, int] = ...,
    ) -> Loader: ...
    @property
    def threads(self) -> int: ...
    @property
    def prefetch(self) -> int: ...
    def order(self, epoch: int) -> NDArray[np.int64]: ...
    def epoch(self, epoch: int, first: int) -> Epoch: ...
    def __len__(self) -> int: ...

@final
class Epoch:
    def next(
        self,
    ) -> (
        tuple[
            int,
            NDArray[np.float32],
            NDArray[np.int64],
            list[tuple[int, str, Exception, int | None]],
        ]
        | None
    ): ...
    def stop(self) -> None: ...

@final
class Tuner:
    @property
    def variants(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def run(self, variant: int) -> None: ...
    def measured(
        self,
    ) -> list[tuple[_Layer, list[str], list[tuple[str, float]], str, str]]: ...

def algorithms(row: _Layer) -> list[str]: ...
def instructions() -> str: ...
def offers(precision: str) -> bool: ...
