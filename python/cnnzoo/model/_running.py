"""Running a network: logits, features, gradients and predictions."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arguments import instance, kind_of, number, one_of, whole
from cnnzoo._arrays import as_array, as_given, is_tensor
from cnnzoo._photo import Photo, is_photo
from cnnzoo._progress import Count
from cnnzoo.errors import ArgumentError, DeviceError, Notice, ShapeError
from cnnzoo.model._choosing import Choosing, choices_of
from cnnzoo.model._network import InferencePrecision
from cnnzoo.model.predict import BATCH, ON_ERROR, OnError, predict_many, prepare_photos
from cnnzoo.prediction import FailedPrediction, Prediction
from cnnzoo.quantization import Quantization, quantization_of

# What few programs need is imported with its first use, so that importing cnnzoo takes less time.
if TYPE_CHECKING:
    import torch

    from cnnzoo.data.dataset import Samples
    from cnnzoo.profile import Profile
    from cnnzoo.tuning import Tuning

MOST_REPEATS = 10_000

# The largest error of a layer in int8, and the number of images that it is measured with.
MOST_ERROR = 0.05
MOST_IMAGES = 100
# With fewer images, those that come later have many values outside the measured ranges.
FEW_IMAGES = 16

# A list of paths is a list of photographs too.
AnyPhoto = TypeVar("AnyPhoto", bound=Photo)


class Running(Choosing):
    """A network that runs on images and photographs."""

    @overload
    def __call__(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> torch.Tensor: ...
    @overload
    def __call__(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> NDArray[np.float32]: ...
    def __call__(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> Any:
        """Run the network in inference mode.

        Args:
            x: Images (N, C, H, W), preprocessed as by `preprocess`: float32, float64 or float16, in
                any memory layout. NaN passes through. An array, of other libraries too (DLPack), or
                a torch tensor; float32 in the order of its axes on the CPU is not copied.
            exact: Run operator by operator on libtorch, with the bits of PyTorch. Otherwise runs on
                the CPU are those of cnnzoo's own engine: faster, equal up to rounding.
            precision: Compute precision. With `"bfloat16"`, inputs and weights of convolutions and
                linear layers are rounded to it, unless the channels of a group are odd in number or
                a convolution is depthwise or by Winograd's algorithm; all else, sums too, is in
                float32. It needs a processor with AVX512-BF16. On others, on a GPU, and with
                `exact`, it is that of `train_step`, on libtorch. With `"int8"`, those that
                `quantize` chose multiply integers of 8 bits; it needs a quantized model on the CPU.

        Returns:
            Logits, float32 (N, num_classes); features (N, C) where `num_classes` is 0. A tensor on
            the device of `x` if that is one, otherwise a NumPy array; no gradients are recorded,
            which `cnnzoo.torch.Module` does.

        Raises:
            ArgumentError: The precision is `"int8"`, and the model is not quantized or not on the
                CPU, or the run is to be exact.
            ShapeError: Wrong rank or number of channels, no images, or images too small.
            TypeError: Wrong element type.
        """
        found = self._runner(exact, precision).run(x, exact=exact, precision=precision)[0]
        return as_given(found, x)

    @overload
    def features(
        self,
        x: torch.Tensor,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, torch.Tensor]: ...
    @overload
    def features(
        self,
        x: ArrayLike,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, NDArray[np.float32]]: ...
    def features(
        self,
        x: Any,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, Any]:
        """Compute the values of named nodes, without running the nodes after them.

        Args:
            x: Images (N, C, H, W), as for `__call__`; values are tensors if it is one.
            nodes: Names of `nodes()`, or one of them; a path such as `layer2` means the last node
                below it.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`. Values that are asked for are float32.

        Raises:
            ArgumentError: There is no such node.
        """
        names = [nodes] if isinstance(nodes, str) else list(nodes)
        found = self._runner(exact, precision).run(x, names, exact, precision)
        return {name: as_given(value, x) for name, value in zip(names, found, strict=True)}

    @overload
    def pyramid(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, torch.Tensor]: ...
    @overload
    def pyramid(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, NDArray[np.float32]]: ...
    def pyramid(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, Any]:
        """Compute a feature pyramid: the last value of each resolution, the finest first.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`.

        Returns:
            Feature maps (N, C, H, W) by node name, each coarser than the one before.
        """
        return self.features(x, self.graph.pyramid(), exact=exact, precision=precision)

    @overload
    def embed(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> torch.Tensor: ...
    @overload
    def embed(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> NDArray[np.float32]: ...
    def embed(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> Any:
        """Compute the pooled features (N, C) before the classifier.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`.
        """
        engine = self._runner(exact, precision)
        return as_given(engine.run(x, [self._engine.embedding], exact, precision)[0], x)

    def plan(
        self, x_shape: Sequence[int] | None = None, *, precision: InferencePrecision = "float32"
    ) -> str:
        """The plan of cnnzoo's own engine for images of one shape: a line for each step.

        A line has the kernel with its algorithm and window, shape (N, H, W, C) and bytes of the
        value that it writes, bytes of the weights that it reads, what is fused into it, its nodes,
        and the part of a concatenation that it writes in place. The last line sums up: the memory
        of a run, in which values take the places of others that are no longer needed, and the
        weights. Only a `tuning` makes it depend on the machine.

        Args:
            x_shape: (N, C, H, W) of the images; one image of the network's own size if not given.
            precision: Compute precision, as for `__call__`.

        Raises:
            ArgumentError: The precision is `"int8"`, and the model is not quantized.
            DeviceError: The model has no parameters, or the processor no instructions for
                bfloat16.
            ShapeError: The images are none, too small, or have another number of channels.
        """
        one_of("`precision`", precision, get_args(InferencePrecision))
        shape = (1, *self.graph.input_shape) if x_shape is None else tuple(x_shape)
        return self._engine.plan([whole("`x_shape`", size) for size in shape], precision)

    def profile(
        self, x: ArrayLike, *, repeats: int = 10, precision: InferencePrecision = "float32"
    ) -> Profile:
        """Measure each step of a run on cnnzoo's own engine, and the peak of this machine.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            repeats: Number of runs, after one that is not measured; times are medians over them.
            precision: Compute precision, as for `__call__`.

        Returns:
            The time of each step, its rate and kernel; `print` shows a table, `save` draws bars.

        Raises:
            ArgumentError: `repeats` is no whole number from 1 to 10000, or the precision is
                `"int8"` and the model is not quantized.
            DeviceError: The model is not on the CPU, or has no parameters, or the processor has no
                instructions for bfloat16.
            ShapeError: Wrong rank or number of channels, no images, or images too small.
            TypeError: Wrong element type.
        """
        repeats = whole("`repeats`", repeats, least=1, most=MOST_REPEATS)
        rows, seconds, peak, threads = self._engine.profile(x, repeats, precision)
        from cnnzoo.profile import profile_of

        return profile_of(self.name, np.shape(x), rows, seconds=seconds, peak=peak, threads=threads)

    def optimize(self, x_shape: Sequence[int] | None = None, *, repeats: int = 20) -> Tuning:
        """Measure the algorithms for each distinct convolution, and use the fastest from now on.

        The network runs with each algorithm in turns, so that weights come from memory and images
        from the layer before as in any run. An algorithm other than the rule's is chosen where it
        saves at least 3 % of the time, in the median and in the least of its times. Choices hold
        for every batch and number of threads, so an image gets the same bits in each; they may
        differ in the last bits from those before. Other sizes of images have other layers, whose
        choices are added by another call.

        It needs the memory of a run, and of the weights, for each algorithm: some times as much as
        the network. Measure while nothing else runs. Ctrl-C ends it after the current run of the
        network, and leaves the model as it was.

        Args:
            x_shape: (N, C, H, W) of the images; one image of the network's own size if not given.
            repeats: Number of runs with each algorithm, after one that is not measured; times are
                medians over them.

        Returns:
            The model's `tuning`, with what earlier calls measured of other layers. `print` shows a
            table; `save` writes a file.

        Raises:
            ArgumentError: `repeats` is no whole number from 1 to 10000.
            DeviceError: The model is not on the CPU, or has no parameters.
            ShapeError: The images are none, too small, or have another number of channels.
        """
        repeats = whole("`repeats`", repeats, least=1, most=MOST_REPEATS)
        shape = tuple(x_shape or (1, *self.graph.input_shape))
        tuner = self._engine.tuner(shape)
        for _ in range(1 + repeats):
            for variant in range(tuner.variants):
                tuner.run(variant)
        from cnnzoo.tuning import tuning_of

        found = tuning_of(self.name, shape[0], tuner)
        self.tuning = found = found if self._tuning is None else found.beside(self._tuning)
        return found

    @property
    def tuning(self) -> Tuning | None:
        """The measured choice of algorithms that `optimize` made; None where the rules choose.

        It can be set, to what `Tuning.load` read from a file, or to None. Layers that it does not
        have get the rule's algorithm, and so do those for which its choice has not the `accuracy`.
        Copies include it; a pickle that is read on another processor and model files do not.

        Raises:
            ArgumentError: When set: no `Tuning`, or one that was measured on another processor or
                with other vector instructions.
        """
        return self._tuning

    @tuning.setter
    def tuning(self, value: Tuning | None) -> None:
        at = f"tuning of {self.name}"
        from cnnzoo.tuning import Tuning, processor

        if value is not None and not instance(at, value, Tuning, "a Tuning or None").fits_here:
            raise ArgumentError(
                f"{at}: expected one that was measured on {processor()} with "
                f"{_native.instructions()}, got one of {value.processor} with "
                f"{value.instructions}; measure here with `optimize`"
            )
        with self._change() as engine:
            engine.choose(choices_of(value))
            self._tuning = value

    def quantize(
        self,
        images: Any,
        *,
        most_error: float = MOST_ERROR,
        most_images: int = MOST_IMAGES,
        progress: bool | None = None,
    ) -> Quantization:
        """Quantize the model with images that it will be used for, for `precision="int8"`.

        The lowest and the highest value of every activation are measured on the images; between
        them, 256 numbers represent the others in int8. Weights get 255 numbers for each output
        channel, as far as its largest. Then each convolution and linear layer runs in int8 alone,
        on up to 8 images: the network's other layers are in float32. A layer that changes the
        output too much stays in float32 for good.

        Parameters keep their values, and runs in other precisions their bits. Any change of a
        parameter makes the model one that is not quantized. Ctrl-C leaves the model as it was.

        Args:
            images: Photographs, as for `predict`: some dozens of those that the model is used for,
                without labels. Or an array or tensor (N, C, H, W) of preprocessed images, as for
                `__call__`; or batches of these, with or without labels: a `Loader`, of torch too.
            most_error: The largest error of a layer that runs in int8: the root of the mean square
                of the output's differences from float32, relative to the spread of an image's
                logits around their mean.
            most_images: Number of images that are used, the first of them.
            progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

        Returns:
            The model's `quantization`: the error of each layer, and that of the network. `print`
            shows a table.

        Warns:
            Notice: There are fewer than 16 images.

        Raises:
            ArgumentError: An option is invalid, there are no images, they have one value alone, or
                a value is not finite.
            DataError: A photograph cannot be read.
            DeviceError: The model is not on the CPU, or has no parameters.
            ShapeError: The images have another number of channels or are too small, or the network
                takes no photographs.
            TypeError: They are no photographs, and no array of floating-point numbers.
        """
        most_error = number("`most_error`", most_error, least=0.0)
        most_images = whole("`most_images`", most_images, least=1)
        if self.device != "cpu":
            raise DeviceError(
                f"quantization of {self.name}: expected a model with parameters on the CPU, got "
                f"one on {self.device}"
            )
        if progress is not None:
            instance("`progress`", progress, bool, "True, False or None")
        x = self._calibration(images, most_images)
        if len(x) == 0:
            raise ArgumentError(f"images for {self.name}: expected at least one, got none")
        if len(x) < FEW_IMAGES:
            warnings.warn(
                f"quantization of {self.name}: expected at least {FEW_IMAGES} images, got "
                f"{len(x)}; the ranges of all values are measured on them, and what lies outside "
                "in later images is cut off: give some dozens of those that the model is used for",
                Notice,
                stacklevel=2,
            )
        with self._change() as engine, ExitStack() as shown:
            bar: Count | None = None

            def count(_: int, steps: int) -> None:
                nonlocal bar
                if bar is None:
                    bar = shown.enter_context(Count(steps, "steps", shown=progress is not False))
                else:
                    bar.advance()

            rows, error, ranges = engine.quantize(x, most_error, count)
            self._quantization = found = quantization_of(
                self.name, rows, ranges, images=len(x), most_error=most_error, error=error
            )
        return found

    def _calibration(self, images: Any, most: int) -> NDArray[Any]:
        """At most so many images (N, C, H, W), ready for the network."""
        from cnnzoo.data import Loader

        if isinstance(images, Loader):
            return _of_batches(images, most, self.name)
        given = as_array(images) if is_tensor(images) else images
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            return given[:most]
        if is_photo(images) or not isinstance(images, Iterable):
            return prepare_photos(self, [images], most=most)
        several = iter(images)
        first = next(several, None)
        whole_again = chain([] if first is None else [first], several)
        if _is_batch(first):
            return _of_batches(whole_again, most, self.name)
        # A data set is read by its indices.
        return prepare_photos(self, whole_again if several is images else images, most=most)

    def nodes(self) -> list[str]:
        """Names of all nodes, in the order in which they run."""
        return self.graph.nodes()

    # A str is one photograph, and to a type checker several strings.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, image: Photo, *, top: int = 5, precision: InferencePrecision = "float32"
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[False] = False,
        batch_size: int = BATCH,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool | None = None,
        precision: InferencePrecision = "float32",
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[False] = False,
        batch_size: int = BATCH,
        on_error: Literal["keep"],
        progress: bool | None = None,
        precision: InferencePrecision = "float32",
    ) -> list[Prediction | FailedPrediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[True],
        batch_size: int = BATCH,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool | None = None,
        precision: InferencePrecision = "float32",
    ) -> Iterator[Prediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[True],
        batch_size: int = BATCH,
        on_error: Literal["keep"],
        progress: bool | None = None,
        precision: InferencePrecision = "float32",
    ) -> Iterator[Prediction | FailedPrediction]: ...
    def predict(
        self,
        image: Any,
        *,
        top: int = 5,
        stream: bool = False,
        batch_size: int = BATCH,
        on_error: OnError = "raise",
        progress: bool | None = None,
        precision: InferencePrecision = "float32",
    ) -> Prediction | list[Any] | Iterator[Any]:
        """Classify photographs.

        Args:
            image: A path, the bytes of a file, an open file, a uint8 array (H, W, 3) or a Pillow
                image, as `preprocess` takes them; or any iterable of these; or a data set, whose
                labels are ignored.
            top: Number of classes in a prediction; where the model's `task` is `"multi_label"`,
                also every further one whose probability, a sigmoid, is at least 0.5.
            stream: Yield predictions one by one, while further photographs are decoded and
                classified. Memory stays bounded: at most two batches for each thread (see
                `set_num_threads`) are taken ahead of their use.
            batch_size: Number of photographs that run through the network together. A stream with 1
                takes a photograph of an iterator only when the prediction before it was used.
            on_error: Handling of a photograph of several that cannot be read: `"raise"` its error,
                `"skip"` it, or `"keep"` a `FailedPrediction` in its place, with its path and the
                error.
            progress: Show a progress bar on a terminal or in a notebook, where it takes longer;
                by default for several photographs, but not for a stream.
            precision: Compute precision, as for `__call__`.

        Returns:
            A `Prediction` for one photograph, a list of them for several, an iterator for a stream.

        Raises:
            ArgumentError: An option is invalid, or the model has no classifier.
            DataError: A file is missing, damaged or not a photograph; the message has the path.
            DivergenceError: The logits are not finite.
            ShapeError: An array is not a photograph, or the network takes no photographs.
            TypeError: An object is not a photograph.
        """
        one = is_photo(image)
        if one and on_error != "raise" and on_error in ON_ERROR:
            raise ArgumentError(
                f'`on_error`: expected "raise" for a single photograph, got "{on_error}", which is '
                "for several"
            )
        several = isinstance(image, Iterable) and not one
        photos = image if several else [image]
        answers = predict_many(
            self,
            photos,
            top=top,
            batch_size=batch_size,
            on_error=on_error,
            ahead=not stream or isinstance(photos, Sized) or batch_size > 1,
            progress=several and (not stream if progress is None else progress),
            precision=precision,
        )
        if stream:
            return answers
        found = list(answers)
        return found if several else found[0]  # type: ignore[return-value]


def _images_of(batch: Any) -> Any:
    """The images of a batch, which may have labels beside them."""
    images = batch[0] if isinstance(batch, tuple | list) and batch else batch
    return as_array(images) if is_tensor(images) else images


def _is_batch(given: Any) -> bool:
    images = _images_of(given)
    return isinstance(images, np.ndarray) and images.dtype.kind == "f"


def _of_batches(batches: Iterable[Any], most: int, name: str) -> NDArray[Any]:
    """The images (N, C, H, W) of the first batches, as of a loader."""
    found: list[NDArray[Any]] = []
    count = 0
    for batch in batches:
        x = _images_of(batch)
        if not _is_batch(batch) or x.ndim != 4 or x.shape[1:] != (found or [x])[0].shape[1:]:  # noqa: PLR2004
            like = f" like the first, {found[0].shape}" if found else ""
            raise ShapeError(
                f"images for {name}: expected a batch of images (N, C, H, W){like}, got "
                f"{getattr(x, 'shape', kind_of(x))}"
            )
        found.append(x[: most - count])
        count += len(found[-1])
        if count >= most:
            break
    if not found:
        raise ArgumentError(f"images for {name}: expected at least one, got none")
    return np.concatenate(found)
