"""A network's attributes: name, options, class labels, task and preprocessing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from cnnzoo import _native
from cnnzoo._arguments import in_order, instance, one_of, shown, text
from cnnzoo._configuration import Accuracy, Configuration
from cnnzoo._html import html_facts
from cnnzoo._text import counted, human, shorten
from cnnzoo.errors import ArgumentError
from cnnzoo.model._packing import has_libtorch
from cnnzoo.prediction import Task, usual_labels
from cnnzoo.preprocess import Preprocess
from cnnzoo.quantization import Quantization

if TYPE_CHECKING:
    from cnnzoo.weights import LoadReport, Published

# Compute precision of a network, in training too.
Precision: TypeAlias = Literal["float32", "bfloat16"]
# That of inference.
InferencePrecision: TypeAlias = Literal["float32", "bfloat16", "int8"]


# Characters of the class labels that a notebook shows.
MOST_SHOWN = 200


class Network:
    """A model of the Rust engine, with the attributes that Python keeps."""

    # In models that older versions pickled there are none.
    _quantization: Quantization | None = None
    _published: Published | None = None

    def __init__(self, engine: _native.Model, preprocess: Preprocess) -> None:
        self._engine = engine
        # Held while our own engine is changed, or replaced by the one that has libtorch.
        self._changing = Lock()
        self._preprocess = preprocess
        # Whether it was set, and is not merely the default of its network.
        self._chose_preprocess = False
        self._task: Task = "multi_class"
        self._load_report: LoadReport | None = None

    @contextmanager
    def _change(self) -> Iterator[_native.Model]:
        """The engine, to be changed; it is not replaced meanwhile."""
        with self._changing:
            engine = self._engine
            if not has_libtorch(engine):
                yield engine
                return
        # It stays, and its own lock is enough.
        yield engine

    @property
    def name(self) -> str:
        """The name of the network in cnnzoo."""
        return self._engine.name

    @property
    def source(self) -> str | None:
        """The source of the network's definition, such as `timm`; None if built from a graph."""
        return self._engine.source

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given when it was built."""
        return dict(json.loads(self._engine.options))

    @property
    def device(self) -> str:
        """The device of its parameters: `cpu`, `cuda:N`, or `meta` if it has none."""
        return self._engine.device

    @property
    def graph(self) -> _native.Graph:
        """The architecture, for reading and printing."""
        graph = self._engine.graph()
        # Both extensions have a class of graphs, and users see one of them.
        return graph if type(graph) is _native.Graph else _native.Graph.parse(str(graph))

    @property
    def num_classes(self) -> int:
        """The number of logits; 0 if the output is features."""
        return self._engine.num_classes

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of photographs for its weights.

        With `in_channels=1` they are converted to grey before they are resized, as by Pillow's
        `convert("L")`, and `mean` and `std` are the averages over the three colours. With 2, 4 or
        more channels photographs are refused (ShapeError): give the model arrays.

        It can be set, and `Trainer.fit` sets it to that of its loaders; model files include it.

        Raises:
            ArgumentError: When set: not a `Preprocess`, or one with another number of channels.
        """
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        if not isinstance(value, Preprocess):
            raise ArgumentError(
                f"preprocess of {self.name}: expected a Preprocess, got {type(value).__name__}"
            )
        channels = self.graph.input_shape[0]
        if len(value.mean) != channels:
            raise ArgumentError(
                f"preprocess of {self.name}: expected mean and std of its {channels} channels, got "
                f"{len(value.mean)}"
            )
        self._preprocess, self._chose_preprocess = value, True

    @property
    def _has_own_preprocess(self) -> bool:
        """Whether the preprocessing belongs to loaded weights, or was set."""
        return self._chose_preprocess or self._load_report is not None

    @property
    def load_report(self) -> LoadReport | None:
        """The report of the last loading of weights, also by `create_model`; None before any."""
        return self._load_report

    @property
    def labels(self) -> tuple[str, ...]:
        """The class labels; by default ImageNet's for 1000 classes, else the class numbers."""
        return self._labels or usual_labels(self.num_classes)

    @labels.setter
    def labels(self, names: Iterable[str]) -> None:
        expected = "a name for each class, in the order of the logits,"
        self._labels = tuple(in_order(f"labels of {self.name}", names, expected))

    @property
    def _labels(self) -> tuple[str, ...] | None:
        """The class labels that were set; the engine stores them with the classifier."""
        labels = self._engine.labels
        return None if labels is None else tuple(labels)

    @_labels.setter
    def _labels(self, names: tuple[str, ...] | None) -> None:
        if names is not None:
            for name in names:
                text(f"labels of {self.name}", name)
        with self._change() as engine:
            engine.set_labels(None if names is None else list(names))

    @property
    def task(self) -> Task:
        """The task: one class for each image (`"multi_class"`) or any number (`"multi_label"`).

        Training on labels (N, K) with `BinaryCrossEntropy` sets `"multi_label"`, for which
        predictions are sigmoids; model files include the task.
        """
        return self._task

    @task.setter
    def task(self, task: Task) -> None:
        if task not in get_args(Task):
            raise ArgumentError(
                f"task of {self.name}: expected one of {', '.join(get_args(Task))}, "
                f"got {shown(task)}"
            )
        self._task = task

    @property
    def accuracy(self) -> Accuracy:
        """The accuracy of inference on cnnzoo's own engine: `"fast"` (the default) or `"high"`.

        `"fast"` takes the fastest algorithm for each convolution. `"high"` allows only those whose
        rounding errors are at most 1.5 times those of the direct convolution (root mean square): of
        Winograd's tiles F(2×2, 3×3) alone, and not Strassen's algorithm. Both are float32; runs on
        libtorch (`exact=True`, training, a GPU) are the same with either.

        It can be set; model files, run checkpoints and copies include it.

        Raises:
            ArgumentError: When set: another value.
        """
        return cast("Accuracy", self._engine.accuracy)

    @accuracy.setter
    def accuracy(self, value: Accuracy) -> None:
        accuracy = one_of(f"accuracy of {self.name}", value, get_args(Accuracy))
        with self._change() as engine:
            engine.set_accuracy(accuracy)

    @property
    def quantized(self) -> bool:
        """Whether the model runs with `precision="int8"`: it was quantized with its parameters."""
        return self._engine.is_quantized

    @property
    def quantization(self) -> Quantization | None:
        """The quantization that `quantize` measured; None after any change of a parameter.

        It can be set, to one of the same network with the same parameters, or to None. Copies,
        pickles and model files include it.

        Raises:
            ArgumentError: When set: no `Quantization`, or one whose ranges are not those of the
                network's nodes.
            DeviceError: When set: the model has no parameters.
        """
        return self._quantization if self.quantized else None

    @quantization.setter
    def quantization(self, value: Quantization | None) -> None:
        at = f"quantization of {self.name}"
        if value is not None:
            instance(at, value, Quantization, "a Quantization or None")
        with self._change() as engine:
            engine.set_quantization(None if value is None else value._given)
            self._quantization = value

    def _configuration(self) -> Configuration:
        return Configuration(
            name=self._engine.source_name or self.name,
            source=self.source,
            options=self.options,
            graph=str(self.graph) if self.source is None else None,
            preprocess=self.preprocess,
            labels=self._labels,
            task=self._task,
            accuracy=self.accuracy,
            quantization=self.quantization,
        )

    def __repr__(self) -> str:
        given = "".join(f", {option}={value!r}" for option, value in self.options.items())
        return f"<Model {self.name} from {self.source or 'a graph'}{given} on {self.device}>"

    def _repr_html_(self) -> str:
        shape = " × ".join(map(str, self.graph.input_shape))
        arrays = self.graph.parameters()
        sizes = {name: math.prod(of) for name, of, can_train in arrays if can_train}
        params = sum(sizes.values())
        # Without parameters, none can be frozen.
        trained = sizes if self.device == "meta" else self._engine.trained()
        frozen = params - sum(sizes[name] for name in trained)
        classes = counted(self.num_classes, "class", "classes")
        if self._labels:
            classes += ": " + ", ".join(self._labels)
        report = self.load_report
        weights = "initial values"
        if report is not None:
            names = f", with names of {report.naming}" * (report.naming != "own")
            weights = report.summary + names
        facts = {
            "options": ", ".join(f"{name}={value!r}" for name, value in self.options.items()),
            "image": shape,
            "output": shorten(classes, MOST_SHOWN) if self.num_classes else "features",
            "task": "" if self.task == "multi_class" else "multi-label",
            "parameters": f"{human(params)} ({params:,})" + f", {frozen:,} frozen" * (frozen > 0),
            "weights": weights if self.device != "meta" else "none allocated",
            "device": self.device,
            "accuracy": "" if self.accuracy == "fast" else self.accuracy,
            "int8": "quantized" if self.quantized else "",
            "preprocess": repr(self.preprocess),
        }
        return html_facts(f"{self.name} from {self.source or 'a graph'}", facts.items())
