"""Writing run checkpoints, and the checks before writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cnnzoo._configuration import check_ending
from cnnzoo.errors import CheckpointError, DivergenceError
from cnnzoo.training import _checkpoint
from cnnzoo.training._checkpoint import LAST, Saved
from cnnzoo.training._fit import Fit
from cnnzoo.training._run import Run
from cnnzoo.training.state import State


class Keeping(Run):
    """A run with run checkpoints."""

    @property
    def config(self) -> dict[str, Any]:
        """All settings as plain values, for logs in JSON or YAML.

        A schedule or loss is a dict of its `class` and its `fields`.
        """
        return _checkpoint.config(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a run checkpoint for `resume`, a .safetensors file.

        Raises:
            ArgumentError: The name has the suffix of another format.
            CheckpointError: The file cannot be written; an existing file is kept.
        """
        check_ending(path)
        _checkpoint.save(self, Path(path))

    def _write(self, fit: Fit) -> None:
        if fit.folder is not None:
            self._check_finite(fit)
            _checkpoint.save(self, fit.folder / LAST)

    def _check_finite(self, fit: Fit) -> None:
        """Check that parameters and outputs are finite.

        Raises:
            DivergenceError: An array of the model or of its average is not finite, or the outputs
                for the last batch are not.
        """
        from cnnzoo import _training

        for model, seen in ((self.model, fit.seen), (self.averaged, None)):
            if model is None:
                continue
            precision = self._options["precision"]
            wrong = _training.not_finite(
                model._for_training(), seen, precision, self._seed(self._state.step)
            )
            if wrong is not None:
                what = f"in `{wrong}`" if wrong else "in the outputs of the last batch"
                where = f"after batch {self._state.step}"
                raise self._diverged(where, f"finite numbers {what}", "others")
        fit.seen = None

    def _interrupted(self, fit: Fit) -> str:
        state = self._state
        where = f"after batch {state.batch} of epoch {state.epoch + 1}"
        if fit.folder is not None and fit.stepping:
            return (
                f"interrupted {where}, in the middle of a step; the previous run checkpoint is kept"
            )
        if fit.folder is None:
            return f"interrupted {where}; without `checkpoint=`, nothing was written"
        try:
            self._write(fit)
        except DivergenceError as error:
            return f"interrupted {where}; the previous run checkpoint is kept: {error}"
        return f"interrupted {where}; Trainer.resume({str(fit.folder)!r}, ...) continues from there"

    def _claim(self, folder: Path) -> None:
        """Refuse a folder that has the run checkpoint of another run."""
        last = folder / LAST
        if not last.exists():
            return
        run = Saved(last).state(State).run
        if run != self._state.run:
            raise CheckpointError(
                f"{last}: expected no run checkpoint, or one of this run, got one of another run; "
                f"continue it by Trainer.resume({str(folder)!r}, ...), remove it, or name another "
                "folder"
            )

    def _expect(self, file: Path, what: str, before: Any, now: Any) -> None:
        if before == now:
            return
        if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
            before = {name: value for name, value in before.items() if value != now[name]}
            now = {name: now[name] for name in before}
        raise CheckpointError(f"{file}: expected the {what} data of the run, {before}, got {now}")
