"""Prediction of photographs by actors of Ray, each with a model of its own."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from typing import Any, get_args

import ray
import ray.data

from cnnzoo import _native
from cnnzoo._arguments import in_order, instance, kind_of, one_of, shown, text, whole
from cnnzoo._threads import set_num_threads
from cnnzoo.errors import ArgumentError, DataError
from cnnzoo.model import InferencePrecision, Model, load
from cnnzoo.prediction import FailedPrediction
from cnnzoo.ray._parts import Output, absolute

PATH, BYTES = "path", "bytes"


def predict(
    photographs: Any,
    model: Model | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    path_column: str = PATH,
    bytes_column: str = BYTES,
    top: int = 5,
    precision: InferencePrecision = "float32",
    actors: int = 1,
    threads: int = 1,
    rows_per_file: int = 1000,
    resume: bool = True,
) -> ray.data.Dataset:
    """Predict photographs on the workers of Ray, and write Parquet files of predictions.

    Actors with a model each take photographs, `rows_per_file` at a time, and write a file of each
    lot: whole, or not at all. If a worker dies, its lot is predicted again by another one and is
    there once. A later call with the same `output` skips the photographs that are there.

    A row has `path`, the most probable `label` with its `probability`, the `top` classes as
    `labels` and `probabilities`, and `error`: the reason why a photograph has no prediction.

    Memory is bounded: a worker holds one lot of paths, or of bytes, beside its model. The paths
    that are done are held as a set by each worker that skips them.

    Args:
        photographs: A folder of photographs, a list of paths, a `.parquet` file, or a dataset of
            Ray. The latter two have a column of paths, or of paths and of bytes.
        model: A model, or the path of a model file. Workers get a copy.
        output: The folder of the Parquet files: a path that all workers see, or an address that
            pyarrow knows, such as `s3://bucket/folder`.
        path_column: The column of paths, which name the rows of bytes.
        bytes_column: The column of the photographs' bytes; without it, workers read the paths.
        top: Number of classes in a prediction.
        precision: Compute precision, as for `Model.__call__`.
        actors: Number of actors.
        threads: Number of threads, and of Ray's CPUs, of an actor.
        rows_per_file: Number of photographs in a file.
        resume: Skip photographs whose path is in the output already, also those with an error.

    Returns:
        The predictions in the output, with those of earlier calls, as a dataset of Ray.

    Raises:
        ArgumentError: An argument is invalid, or a dataset has no column of paths.
        DataError: There is no photograph, or the output has a file of something else.
        WeightsError: The model file is missing or damaged.
    """
    found = load(model) if isinstance(model, str | os.PathLike) else model
    instance("`model`", found, Model, "a model or the path of a model file")
    instance("`resume`", resume, bool, "True or False")
    options: dict[str, Any] = {
        "top": whole("`top`", top, least=1),
        "precision": one_of("`precision`", precision, get_args(InferencePrecision)),
        "threads": whole("`threads`", threads, least=1),
        "columns": (text("`path_column`", path_column), text("`bytes_column`", bytes_column)),
        "folder": os.getcwd(),
    }
    actors = whole("`actors`", actors, least=1)
    rows_per_file = whole("`rows_per_file`", rows_per_file, least=1)
    # Options that a network refuses are refused here, and not by each worker.
    found.predict([], top=top, precision=precision)
    place = Output(absolute(text("`output`", os.fspath(output))))
    place.make()
    done = frozenset(place.paths()) if resume else frozenset()
    dataset = _dataset_of(photographs, path_column, bytes_column, done)
    if dataset is not None:
        lots = dataset.map_batches(
            Predictor,
            fn_constructor_args=(ray.put(pickle.dumps(found)), place),
            fn_constructor_kwargs=options,
            batch_size=rows_per_file,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=threads,
        )
        # What workers return is a row for each file.
        for _ in lots.iter_rows():
            pass
    if not place.files():
        raise DataError(f"`photographs`: expected at least one, got {shown(photographs)}")
    return ray.data.read_parquet(place.address)


class Predictor:
    """The actor: a model that predicts lots of photographs and writes them.

    Relative paths are those of `folder`, the working directory of the caller, since an actor has
    another one.
    """

    def __init__(
        self,
        model: Any,
        output: Output,
        *,
        top: int,
        precision: InferencePrecision,
        threads: int,
        columns: tuple[str, str],
        folder: str,
    ) -> None:
        set_num_threads(threads)
        self.model: Model = pickle.loads(ray.get(model))
        self.output = output
        self.options: dict[str, Any] = {"top": top, "precision": precision}
        self.columns = columns
        self.folder = folder

    def __call__(self, lot: Any) -> dict[str, list[Any]]:
        """Predict the photographs of a table, and write the file of them."""
        path_column, bytes_column = self.columns
        paths = lot[path_column].to_pylist()
        has_bytes = bytes_column in lot.column_names
        photographs = lot[bytes_column].to_pylist() if has_bytes else map(self._found, paths)
        # A missing value is an error of its row.
        given = [_held(photograph) for photograph in photographs]
        answers = self.model.predict(iter(given), stream=True, on_error="keep", **self.options)
        rows = [_row(path, answer) for path, answer in zip(paths, answers, strict=True)]
        return {"file": [self.output.write(rows, [str(path) for path in paths])]}

    def _found(self, path: Any) -> Any:
        return os.path.join(self.folder, path) if isinstance(path, str) else path


def _held(photograph: Any) -> Any:
    if photograph is None:
        error = DataError("expected a photograph, got a missing value")
        return FailedPrediction(path=None, error=error)
    return photograph


def _row(path: Any, answer: Any) -> dict[str, Any]:
    path = None if path is None else str(path)
    if isinstance(answer, FailedPrediction):
        return {"path": path, "error": str(answer.error)}
    return {
        "path": path,
        "label": answer[0].label,
        "probability": answer[0].probability,
        "labels": [guess.label for guess in answer],
        "probabilities": [guess.probability for guess in answer],
    }


def _dataset_of(
    photographs: Any, path_column: str, bytes_column: str, done: frozenset[str]
) -> ray.data.Dataset | None:
    """The photographs that are not done, as a dataset of Ray; None if there is none."""
    if isinstance(photographs, str | os.PathLike) and not os.fspath(photographs).endswith(
        ".parquet"
    ):
        photographs = _listed(os.fspath(photographs))
    elif isinstance(photographs, str | os.PathLike):
        photographs = ray.data.read_parquet(absolute(os.fspath(photographs)))
    if isinstance(photographs, ray.data.Dataset):
        return _without(photographs, path_column, bytes_column, done)
    if not isinstance(photographs, Iterable):
        raise ArgumentError(
            "`photographs`: expected a folder, paths, a .parquet file or a dataset of Ray, got "
            f"{kind_of(photographs)}"
        )
    paths = []
    for path in in_order("`photographs`", photographs, "paths"):
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"`photographs`: expected paths, got {kind_of(path)}")
        paths.append(_utf8(os.fspath(path)))
    left = [{path_column: path} for path in paths if path not in done]
    return ray.data.from_items(left) if left else None


def _utf8(path: str) -> str:
    """A path, which is text in Parquet files.

    Raises:
        DataError: It has bytes that are no UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"`photographs`: expected paths in UTF-8, since Parquet files keep them as text, got "
            f"{os.fsencode(path)!r}; rename the file, or give its bytes in a dataset of Ray"
        ) from error
    return path


def _listed(folder: str) -> list[str]:
    found, unreadable = _native.list_photos(os.path.expanduser(folder))
    if unreadable:
        raise unreadable[0]
    if not found:
        raise DataError(f"{folder}: expected a photograph in the folder, got none")
    return found


def _without(
    dataset: ray.data.Dataset, path_column: str, bytes_column: str, done: frozenset[str]
) -> ray.data.Dataset:
    schema = dataset.schema()
    names = [] if schema is None else list(schema.names)
    if path_column not in names:
        raise ArgumentError(
            f"`photographs`: expected a column {path_column!r}, got columns {', '.join(names)}; "
            "`path_column` names another"
        )
    kept = dataset.select_columns([name for name in (path_column, bytes_column) if name in names])
    if not done:
        return kept
    return kept.map_batches(
        _left, fn_args=(path_column, ray.put(done)), batch_format="pyarrow", batch_size=None
    )


def _left(table: Any, path_column: str, done: Any) -> Any:
    """The rows of a table that are not done."""
    known = ray.get(done) if isinstance(done, ray.ObjectRef) else done
    return table.filter([str(path) not in known for path in table[path_column].to_pylist()])
