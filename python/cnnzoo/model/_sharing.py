"""Writing a model as a folder or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnzoo._arguments import instance, path_of, text
from cnnzoo.errors import DeviceError, WeightsFileError
from cnnzoo.model._files import Filling


class Sharing(Filling):
    """A network that is written for others."""

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        license: str | None = None,
        data: str | None = None,
        base: str | None = None,
        metrics: Mapping[str, float] | None = None,
        description: str | None = None,
    ) -> None:
        """Write a folder that `cnnzoo.from_pretrained` loads, and the Hugging Face hub shows.

        It has the model file `model.safetensors`, its description `config.json` and a model card
        `README.md`, which states the network, its preprocessing and what is given here; what is not
        given is left out. If the network's definition is timm's, without options that timm lacks,
        timm loads the folder too: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

        Args:
            folder: The folder, which is made if there is none. Its other files stay.
            license: The licence of the weights, such as `"apache-2.0"`.
            data: The data that they were trained on; the name of a data set of the hub is linked.
            base: The weights that training began with, such as `"timm/resnet50.a1_in1k"`.
            metrics: Figures on data that was not trained on, by name: `{"top-1 accuracy": 0.93}`.
            description: A text about the model.

        Raises:
            ArgumentError: An argument is of another type.
            DeviceError: The model has no parameters.
            WeightsError: A file cannot be written.
        """
        given = (license, data, base, metrics, description)
        path = path_of("`folder`", folder)
        self._write_shared(path, path.resolve().name, given)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        data: str | None = None,
        base: str | None = None,
        metrics: Mapping[str, float] | None = None,
        description: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        message: str = "Upload a model of cnnzoo",
        token: str | bool | None = None,
    ) -> str:
        """Upload the model to a repository of the Hugging Face hub, in one commit.

        The files are those of `save_pretrained`, so timm loads the repository as well:
        `timm.create_model("hf-hub:OWNER/NAME", pretrained=True)`. It needs the extra `hub`.

        Args:
            repo_id: The repository, `owner/name`, which is made if there is none.
            license: As for `save_pretrained`.
            data: As for `save_pretrained`.
            base: As for `save_pretrained`.
            metrics: As for `save_pretrained`.
            description: As for `save_pretrained`.
            private: Whether a new repository is private; as the owner's settings say if not given.
            revision: A branch, which is made if there is none; the main one if not given.
            create_pr: Open a pull request in place of a commit to the branch.
            message: The commit's message.
            token: A token that may write; that of `hf auth login` or `HF_TOKEN` if not given.

        Returns:
            The address of the commit or of the pull request.

        Raises:
            ArgumentError: An argument is of another type, or the repository has no such name.
            DeviceError: The model has no parameters.
            MissingPackageError: huggingface_hub is not installed.
            WeightsError: The hub refuses, or does not answer.
        """
        # With the first use, as few programs need them.
        import tempfile

        from cnnzoo.weights import repository

        name = text("`repo_id`", repo_id, "a repository, owner/name")
        for option, value in (("private", private), ("create_pr", create_pr)):
            _ = value is None or instance(f"`{option}`", value, bool, "True or False")
        access = repository.Access.of(token, None)
        with tempfile.TemporaryDirectory(prefix="cnnzoo-") as folder:
            given = (license, data, base, metrics, description)
            self._write_shared(Path(folder), name, given)
            return repository.push(
                Path(folder),
                name,
                access,
                private=private,
                revision=None if revision is None else text("`revision`", revision, "a branch"),
                message=text("`message`", message),
                create_pr=create_pr,
            )

    def _write_shared(self, folder: Path, name: str, given: tuple[Any, ...]) -> None:
        from cnnzoo.weights import card, repository, timm_config

        told = card.Told.of(*given)
        if self.device == "meta":
            raise DeviceError(f"{self.name}: expected a model with parameters, got one on meta")
        configuration = self._configuration()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            config = timm_config.written(configuration, self._engine, told.license)
            (folder / repository.CONFIG).write_text(config, encoding="utf-8")
            text = card.card_of(configuration, self._engine, told, name)
            (folder / repository.CARD).write_text(text, encoding="utf-8")
        except OSError as error:
            raise WeightsFileError(f"{folder}: {error.strerror or error}") from error
        self.save(folder / repository.WEIGHTS)
