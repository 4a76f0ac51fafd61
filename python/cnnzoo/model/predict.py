"""Batched prediction: shared by `Model.predict`, its stream and the command line."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from functools import partial
from itertools import islice
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import shown, some_classes, whole
from cnnzoo._photo import held, path_of
from cnnzoo._progress import Count
from cnnzoo._threads import get_num_threads
from cnnzoo.errors import ArgumentError, CnnzooError, DivergenceError
from cnnzoo.model._choosing import Choosing
from cnnzoo.model._network import InferencePrecision
from cnnzoo.prediction import FailedPrediction, Prediction, rank

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cnnzoo.data.dataset import Samples

OnError: TypeAlias = Literal["raise", "skip", "keep"]
ON_ERROR = ("raise", "skip", "keep")

# Batch size of predictions: 1 to 8 were as fast, see docs/benchmarks.md.
BATCH = 4
# Batches that are taken ahead, for each thread: one that it works on, one that waits.
AHEAD = 2


class _Item(NamedTuple):
    """A photograph, or the error of one that cannot be read."""

    path: str | None
    photo: Any


# A photograph's prediction, or the error in its place.
_Answer: TypeAlias = "tuple[_Item, Prediction | Exception]"
_Answers: TypeAlias = Generator[_Answer, None, None]
# A function of a batch and its prepared images.
_Classify: TypeAlias = "Callable[..., list[_Answer]]"


def predict_many(
    model: Choosing,
    photos: Iterable[Any],
    *,
    top: int = 5,
    batch_size: int = BATCH,
    on_error: OnError = "raise",
    ahead: bool = True,
    progress: bool = False,
    precision: InferencePrecision = "float32",
) -> Iterator[Prediction | FailedPrediction]:
    """Classify photographs, yielding each prediction as soon as it and those before it are known.

    Each thread decodes a batch and runs the network on it alone, so that decoding overlaps with
    inference. Batches fewer than threads are run one by one, by all threads together.

    Args:
        model: A network with a classifier.
        photos: Photographs as for `Model.predict`, a `FailedPrediction` for one that was not found;
            or a data set. At most `AHEAD` batches for each thread are taken ahead of their use.
        top: Number of classes in a prediction.
        batch_size: Number of photographs that run through the network together.
        on_error: Handling of photographs that cannot be read, as for `Model.predict`.
        ahead: Take photographs before the predictions of those before them are used.
        progress: Show a progress bar.
        precision: Compute precision, as for `Model.__call__`.

    Raises:
        ArgumentError: An option is invalid, or the model has no classifier.
        ShapeError: The network takes no photographs.
    """
    some_classes(model.name, model.num_classes, "to predict with")
    top, batch_size = whole("`top`", top, least=1), whole("`batch_size`", batch_size, least=1)
    if on_error not in ON_ERROR:
        known = ", ".join(f'"{choice}"' for choice in ON_ERROR)
        raise ArgumentError(f"`on_error`: expected one of {known}, got {shown(on_error)}")
    model.preprocess.check_channels()
    threads, total = get_num_threads(), len(photos) if isinstance(photos, Sized) else None
    items = _items(photos)
    batches = iter(lambda: list(islice(items, batch_size)), [])
    few = total is not None and total <= max(1, (threads - 1) * batch_size)
    run = _beside if ahead and not few else _in_turn
    count = Count(total, "photographs", shown=progress)
    classify = partial(_classify, model, top=top, precision=precision)
    return _handled(run(model, batches, classify, threads), on_error, count)


def prepare_photos(model: Choosing, photos: Iterable[Any], *, most: int) -> NDArray[np.float32]:
    """Prepare the first photographs as for a prediction.

    Args:
        model: The network that they are for.
        photos: Photographs as for `predict_many`.
        most: Number of photographs that are taken, if there are so many.

    Returns:
        Images (N, C, H, W).

    Raises:
        ArgumentError: There is no photograph.
        DataError: One cannot be read.
        ShapeError: The network takes no photographs.
    """
    from concurrent.futures import ThreadPoolExecutor

    model.preprocess.check_channels()
    items = list(islice(_items(photos), most))
    if not items:
        raise ArgumentError(f"images for {model.name}: expected at least one, got none")
    with ThreadPoolExecutor(min(len(items), get_num_threads())) as pool:
        prepared = list(pool.map(partial(_prepare, model), items))
    for image in prepared:
        if isinstance(image, Exception):
            raise image
    return np.concatenate(cast("list[NDArray[np.float32]]", prepared))


def _handled(answers: _Answers, on_error: OnError, count: Count) -> Iterator[Any]:
    with count, contextlib.closing(answers):
        for item, answer in answers:
            count.advance()
            if not isinstance(answer, Exception):
                yield answer
            elif on_error == "raise":
                raise answer
            elif on_error == "keep":
                yield FailedPrediction(path=item.path, error=answer)


def _in_turn(
    model: Choosing, batches: Iterator[list[_Item]], classify: _Classify, threads: int
) -> _Answers:
    """The answers, batch by batch, by all threads together."""
    prepare = partial(_prepare, model)
    for batch in batches:
        if len(batch) == 1:
            prepared = [prepare(batch[0])]
        else:
            # Not for one photograph, since it imports `logging` and more.
            from concurrent.futures import ThreadPoolExecutor

            # Decoding and resizing run without the GIL.
            with ThreadPoolExecutor(min(len(batch), threads)) as pool:
                prepared = list(pool.map(prepare, batch))
        yield from classify(batch, prepared, alone=False)


def _beside(
    model: Choosing, batches: Iterator[list[_Item]], classify: _Classify, threads: int
) -> _Answers:
    """The answers, in order, of threads that each decode and classify a batch alone."""
    from concurrent.futures import ThreadPoolExecutor

    left = Event()
    # On a GPU, one batch runs at a time, and the others are decoded meanwhile.
    turn = contextlib.nullcontext() if model.device == "cpu" else Lock()

    def answers(batch: list[_Item]) -> list[_Answer]:
        prepared = []
        for item in batch:
            if left.is_set():
                return []
            prepared.append(_prepare(model, item))
        with turn:
            return classify(batch, prepared, alone=True)

    begun: deque[Future[list[_Answer]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="cnnzoo-predict") as pool:
        try:
            while True:
                if batch := next(batches, None):
                    begun.append(pool.submit(answers, batch))
                if not begun:
                    return
                if batch and len(begun) < AHEAD * threads and not begun[0].done():
                    continue
                yield from begun.popleft().result()
        finally:
            left.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _classify(
    model: Choosing,
    batch: list[_Item],
    prepared: list[NDArray[np.float32] | Exception],
    *,
    top: int,
    alone: bool,
    precision: InferencePrecision,
) -> list[_Answer]:
    images = [image for image in prepared if not isinstance(image, Exception)]
    if not images:
        return list(zip(batch, cast("list[Exception]", prepared), strict=True))
    logits, labels = model._classify(np.concatenate(images), alone=alone, precision=precision)
    ranked = iter(rank(logits, labels, top, model.task))
    return [
        (item, image if isinstance(image, Exception) else _checked(next(ranked), model, item))
        for item, image in zip(batch, prepared, strict=True)
    ]


def _checked(guesses: Prediction, model: Choosing, item: _Item) -> Prediction | DivergenceError:
    """The prediction, or an error where its probabilities are not finite."""
    if all(math.isfinite(guess.probability) for guess in guesses):
        return Prediction(guesses, path=item.path)
    of = "" if item.path is None else f"{item.path}: "
    return DivergenceError(
        f"{of}expected finite logits, got some infinite or NaN: the weights of {model.name} "
        "are infinite or NaN, or so large that its activations overflow"
    )


def _prepare(model: Choosing, item: _Item) -> NDArray[np.float32] | Exception:
    try:
        photo = item.photo
        if isinstance(photo, _Sample):
            photo = photo.read()
        return photo if isinstance(photo, Exception) else model.preprocess.to_array(photo)
    except (CnnzooError, TypeError) as error:
        return error


class _Sample(NamedTuple):
    """A photograph of a data set, read in the thread that decodes it."""

    dataset: Samples
    place: int

    def read(self) -> NDArray[np.uint8]:
        return self.dataset._engine.read(self.place)


def _items(photos: Iterable[Any]) -> Iterator[_Item]:
    if (dataset := _as_dataset(photos)) is not None:
        for index in range(len(dataset)):
            yield _Item(dataset.name(index), _Sample(dataset, index))
        return
    for photo in photos:
        if isinstance(photo, FailedPrediction):
            yield _Item(photo.path, photo.error)
            continue
        try:
            yield _Item(path_of(photo), held(photo))
        except CnnzooError as error:
            yield _Item(path_of(photo), error)


def _as_dataset(photos: Iterable[Any]) -> Samples | None:
    # With the first iterable that may be one: a list is none.
    if isinstance(photos, list):
        return None
    from cnnzoo.data.dataset import Samples

    return photos if isinstance(photos, Samples) else None
