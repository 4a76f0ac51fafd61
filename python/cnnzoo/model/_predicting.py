"""Predictions for photographs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from cnnzoo._photo import Photo, is_photo
from cnnzoo.errors import ArgumentError
from cnnzoo.model._network import InferencePrecision
from cnnzoo.model._running import Running
from cnnzoo.model.predict import BATCH, ON_ERROR, OnError, predict_many
from cnnzoo.prediction import FailedPrediction, Prediction

if TYPE_CHECKING:
    from cnnzoo.data.dataset import Samples

# A list of paths is a list of photographs too.
AnyPhoto = TypeVar("AnyPhoto", bound=Photo)


class Predicting(Running):
    """A network that classifies photographs."""

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
