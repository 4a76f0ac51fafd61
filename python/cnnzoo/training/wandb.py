"""A callback that reports a run to Weights & Biases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cnnzoo._arguments import one_of, path_of, text
from cnnzoo._package import NAME
from cnnzoo.errors import MissingPackageError
from cnnzoo.training._tracking import Tracker

if TYPE_CHECKING:
    from cnnzoo.training.trainer import Trainer

Mode = Literal["online", "offline", "disabled"]


class WandB(Tracker):
    """Reports a run to Weights & Biases: settings, figures, pictures and the best model.

    A run of `wandb.init()` that is active is reported to, and left open. Otherwise this starts one,
    and a resumed or further fit of the same trainer continues it, online.

        trainer.fit(train, validation, epochs=20, callbacks=[cz.callbacks.WandB(project="flowers")])

    Settings are the run's `config`; figures are named as `val/top1`, at the number of the batch;
    pictures are `curves` and `confusion`; the model file is an artifact of the type `model`.

    Args:
        project: Name of the project of a new run.
        name: Name of a new run; wandb makes one up if not given.
        mode: `"online"`, `"offline"` for files that `wandb sync` uploads later, or `"disabled"`; as
            wandb's own settings say if not given.
        folder: The folder of wandb's files; the current one if not given.
        every: Report loss, learning rate and gradient norm every so many batches.
        pictures: Report the learning curves and, at the end, the confusion matrix of the best model
            on the validation data, which is one more evaluation.
        best_model: Report the model file of the best epoch at the end.

    Raises:
        ArgumentError: An argument is of another type.
        MissingPackageError: wandb is not installed, or matplotlib for pictures.
    """

    def __init__(
        self,
        *,
        project: str = "cnnzoo",
        name: str | None = None,
        mode: Mode | None = None,
        folder: str | os.PathLike[str] | None = None,
        every: int = 50,
        pictures: bool = True,
        best_model: bool = True,
    ) -> None:
        super().__init__(every=every, pictures=pictures, best_model=best_model)
        self.project = text("`project`", project)
        self.name = None if name is None else text("`name`", name)
        self.mode = None if mode is None else one_of("`mode`", mode, get_args(Mode))
        self.folder = None if folder is None else path_of("`folder`", folder)
        self._run: Any = None
        self._owned = False
        _module()

    def errors(self) -> tuple[type[Exception], ...]:
        """The errors of wandb."""
        return (_module().Error,)

    def begin(self, trainer: Trainer) -> None:
        """Open or continue a run, and report the settings."""
        wandb = _module()
        self._owned = wandb.run is None
        if self._owned:
            self._run = wandb.init(
                project=self.project,
                name=self.name,
                id=trainer._state.run,
                resume="allow",
                mode=self.mode,
                dir=self.folder,
            )
        else:
            self._run = wandb.run
        self._run.config.update(trainer.config, allow_val_change=True)

    def log(self, values: dict[str, float], step: int) -> None:
        """Report figures."""
        self._run.log(values, step=step)

    def log_picture(self, figure: Any, name: str, step: int) -> None:
        """Report a figure of matplotlib."""
        self._run.log({name: _module().Image(figure)}, step=step)

    def log_model(self, file: Path, trainer: Trainer) -> None:
        """Report a model file."""
        artifact = _module().Artifact(
            f"model-{self._run.id}", type="model", metadata={trainer._state.monitor: self._best}
        )
        # A copy, since the file is of a folder that is about to go.
        artifact.add_file(os.fspath(file), policy="mutable")
        self._run.log_artifact(artifact)

    def finish(self, trainer: Trainer, *, whole_fit: bool) -> None:
        """End the run, unless it was active before."""
        run, self._run = self._run, None
        if self._owned and run is not None:
            run.finish(exit_code=0 if whole_fit else 1)


def _module() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingPackageError(
            f"reporting to Weights & Biases needs it: pip install '{NAME}[wandb]'"
        ) from error
    return wandb
