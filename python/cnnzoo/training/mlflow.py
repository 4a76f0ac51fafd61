"""A callback that reports a run to MLflow."""

from __future__ import annotations

import os
import posixpath
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnzoo._arguments import shown, text
from cnnzoo._package import NAME
from cnnzoo.errors import ArgumentError, MissingPackageError
from cnnzoo.training import _figures
from cnnzoo.training._tracking import Tracker

if TYPE_CHECKING:
    from cnnzoo.training.trainer import Trainer

# The tag with the name of our run, by which a resumed one finds its own.
TAG = "cnnzoo.run"
# MLflow takes so many parameters at a time, and so many characters of each.
MOST_PARAMETERS, MOST_CHARACTERS = 100, 6000
EXPERIMENT = "cnnzoo"
# Names of figures, which are also paths.
NAMES = re.compile(r"[/\w.\- :]{1,200}")


class MLflow(Tracker):
    """Reports a run to MLflow: settings, figures, pictures and the best model.

    A run of `mlflow.start_run()` that is active is reported to, and left open. Otherwise this
    starts one, and a resumed or further fit of the same trainer continues it.

        trainer.fit(train, validation, epochs=20, callbacks=[cz.callbacks.MLflow()])

    Settings are parameters such as `optimizer.lr`; figures are metrics such as `val/top1`, at the
    number of the batch; pictures and the model file `best.safetensors` are artifacts.

    Args:
        tracking_uri: Address of the server or the store, such as `sqlite:///mlflow.db`; that of
            MLflow's own settings if not given.
        experiment: Name of the experiment of a new run, which is made if there is none.
        run_name: Name of a new run; MLflow makes one up if not given.
        every: Report loss, learning rate and gradient norm every so many batches.
        pictures: Report the learning curves and, at the end, the confusion matrix of the best model
            on the validation data, which is one more evaluation.
        best_model: Report the model file of the best epoch at the end.

    Attributes:
        run_id: The run in MLflow; None before training begins.

    Raises:
        ArgumentError: An argument is of another type.
        MissingPackageError: mlflow is not installed, or matplotlib for pictures.
    """

    def __init__(
        self,
        *,
        tracking_uri: str | None = None,
        experiment: str = EXPERIMENT,
        run_name: str | None = None,
        every: int = 50,
        pictures: bool = True,
        best_model: bool = True,
    ) -> None:
        super().__init__(every=every, pictures=pictures, best_model=best_model)
        self.tracking_uri = None if tracking_uri is None else text("`tracking_uri`", tracking_uri)
        self.experiment = text("`experiment`", experiment)
        self.run_name = None if run_name is None else text("`run_name`", run_name)
        self.run_id: str | None = None
        self._owned = False
        _module()

    def errors(self) -> tuple[type[Exception], ...]:
        """MLflow's own error."""
        return (_module().exceptions.MlflowException,)

    def begin(self, trainer: Trainer) -> None:
        """Open or continue a run, and report the settings.

        Raises:
            ArgumentError: A metric of the fit has a name that MLflow would refuse after an epoch.
        """
        for name in trainer._fit.metrics or () if trainer._fit else ():
            if not NAMES.fullmatch(name) or posixpath.normpath(f"val/{name}") != f"val/{name}":
                raise ArgumentError(
                    "`metrics`: expected names that MLflow takes, of letters, digits, spaces and "
                    f"_ - . : / as in a path, got {shown(name)}"
                )
        active, client = _module().active_run(), self._client()
        self._owned = active is None
        if active is None:
            self.run_id = self._opened(client, trainer._state.run)
        else:
            self.run_id = str(active.info.run_id)
            client.set_tag(self.run_id, TAG, trainer._state.run)
        self._log_settings(client, trainer)

    def _opened(self, client: Any, name: str) -> str:
        """The run of an earlier fit of the same trainer, or a new one."""
        experiment = client.get_experiment_by_name(self.experiment)
        found = None if experiment is None else experiment.experiment_id
        if found is None:
            found = client.create_experiment(self.experiment)
        earlier = client.search_runs([found], f"tags.`{TAG}` = '{name}'", max_results=1)
        if earlier:
            run = str(earlier[0].info.run_id)
            client.update_run(run, status="RUNNING")
            return run
        return str(client.create_run(found, tags={TAG: name}, run_name=self.run_name).info.run_id)

    def _log_settings(self, client: Any, trainer: Trainer) -> None:
        """Report the settings as parameters, which cannot change, and all of each fit as a file."""
        from mlflow.entities import Param

        known = client.get_run(self.run_id).data.params
        state = trainer._state
        given = dict(_figures.flat(trainer.config))
        given |= {"fit.epochs": str(state.epochs), "fit.monitor": state.monitor}
        new = [
            Param(name, value[:MOST_CHARACTERS])
            for name, value in given.items()
            if name not in known
        ]
        for start in range(0, len(new), MOST_PARAMETERS):
            client.log_batch(self.run_id, params=new[start : start + MOST_PARAMETERS])
        client.log_dict(self.run_id, trainer.config, f"settings/from-epoch-{state.first + 1}.json")

    def log(self, values: dict[str, float], step: int) -> None:
        """Report figures."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client().log_batch(self.run_id, metrics=metrics)

    def log_picture(self, figure: Any, name: str, step: int) -> None:
        """Report a figure of matplotlib."""
        self._client().log_figure(self.run_id, figure, f"{name}.png")

    def log_model(self, file: Path, trainer: Trainer) -> None:
        """Report a model file."""
        self._client().log_artifact(self.run_id, os.fspath(file))

    def finish(self, trainer: Trainer, *, whole_fit: bool) -> None:
        """End the run, unless it was active before."""
        if self._owned and self.run_id is not None:
            self._client().set_terminated(self.run_id, "FINISHED" if whole_fit else "KILLED")

    def _client(self) -> Any:
        # The registry of models is not used, and mlflow-skinny has none for its default store.
        address = self.tracking_uri or _module().get_tracking_uri()
        return _module().MlflowClient(address, registry_uri=address)


def _module() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise MissingPackageError(
            f"reporting to MLflow needs it: pip install '{NAME}[mlflow]'"
        ) from error
    return mlflow
