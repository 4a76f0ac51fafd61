"""Output formats of `cnnzoo predict`: an entry for each photograph, as soon as it is predicted."""

from __future__ import annotations

import csv
import io
import math
from typing import Any, TypeAlias

from cnnzoo import _json
from cnnzoo._text import Out, one_line, shorten
from cnnzoo.prediction import BAR, FailedPrediction, Prediction, bar

Answer: TypeAlias = "Prediction | FailedPrediction"

COLUMNS = ("path", "rank", "label", "index", "probability", "error")


class Text:
    """Text for people: label, percentage and bar; photographs that failed are on stderr alone."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._first = True

    def __enter__(self) -> Text:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        pass

    def write(self, path: str, answer: Answer) -> None:
        """Write the entry of one photograph."""
        if isinstance(answer, FailedPrediction):
            return
        self._out.print("\n" * (not self._first) + one_line(path), cut=False)
        self._out.print(_bars(answer, self._out))
        self._first = False


class JsonLines(Text):
    """JSON Lines: an object on each line."""

    def write(self, path: str, answer: Answer) -> None:
        """Write the entry of one photograph."""
        self._out.print(_as_json(path, answer), cut=False)


class Json(Text):
    """A JSON list, an entry on each line; it is closed on an interruption too."""

    def __enter__(self) -> Json:
        self._out.print("[", cut=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A stream that has failed cannot be written to.
        if kind is None or not issubclass(kind, OSError):
            self._out.print("]", cut=False)

    def write(self, path: str, answer: Answer) -> None:
        """Write the entry of one photograph."""
        self._out.print("," * (not self._first) + _as_json(path, answer), cut=False)
        self._first = False


class Csv(Text):
    """CSV with a header: a row for each class, and one for a photograph that could not be read."""

    def __enter__(self) -> Csv:
        self._row(COLUMNS)
        return self

    def write(self, path: str, answer: Answer) -> None:
        """Write the entry of one photograph."""
        if isinstance(answer, FailedPrediction):
            self._row((path, "", "", "", "", one_line(str(answer.error))))
            return
        for rank, guess in enumerate(answer, 1):
            label, index, probability = guess
            number = "" if math.isnan(probability) else repr(probability)
            self._row((path, rank, label, index, number, ""))

    def _row(self, cells: tuple[object, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        self._out.print(line.getvalue(), cut=False)


FORMATS: dict[str, type[Text]] = {"text": Text, "jsonl": JsonLines, "csv": Csv, "json": Json}


def _as_json(path: str, answer: Answer) -> str:
    entry: dict[str, Any] = {"path": path}
    if isinstance(answer, FailedPrediction):
        entry["error"] = str(answer.error)
    else:
        entry["predictions"] = [guess._asdict() for guess in answer]
    return _json.line(entry)


def _bars(prediction: Prediction, out: Out) -> str:
    """Label, percentage and bar; on a narrow terminal the bars are shortened, then the labels."""
    columns = out.columns or 10**6
    names = [one_line(guess.label) for guess in prediction]
    longest = max(map(len, names))
    beside = len("    100.0%  ")
    labels = max(1, min(longest, columns - beside))
    width = max(0, min(BAR, columns - beside - labels))
    return "\n".join(
        f"  {shorten(name, labels, out.plain):<{labels}}  {guess.probability:6.1%}  "
        f"{bar(guess.probability, width=width, plain=out.plain)}".rstrip()
        for name, guess in zip(names, prediction, strict=True)
    )
