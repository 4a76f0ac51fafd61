"""The plan of a run on the native engine: printed, measured, and tuned to a processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import ArrayLike

from cnnzoo import _native
from cnnzoo._arguments import instance, one_of, whole
from cnnzoo.errors import ArgumentError
from cnnzoo.model._choosing import choices_of
from cnnzoo.model._network import InferencePrecision
from cnnzoo.model._running import Running

# Imported with its first use, so that importing cnnzoo takes less time.
if TYPE_CHECKING:
    from cnnzoo.profile import Profile
    from cnnzoo.tuning import Tuning

MOST_REPEATS = 10_000


class Planning(Running):
    """A network whose plan can be seen, measured and tuned."""

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
