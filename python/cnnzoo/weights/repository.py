"""Folders and repositories of the Hugging Face hub that hold a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnzoo._arguments import path_of, shown, text
from cnnzoo._package import NAME
from cnnzoo.errors import (
    ArgumentError,
    MissingPackageError,
    WeightsError,
    WeightsFileError,
    WeightsFileNotFoundError,
)
from cnnzoo.weights.hub import HUB_FILES, endpoint, hub_cache, is_set

# The files of a repository.
CONFIG, WEIGHTS, CARD = "config.json", HUB_FILES[0], "README.md"
# The variables that forbid network access.
OFFLINE = ("CNNZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
PARTS = 2


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a model: a folder, or a repository at a revision.

    Attributes:
        name: The folder or the repository, as it was given, in messages.
        folder: The folder; None for a repository.
        repository: `owner/name`; None for a folder.
        revision: A branch, a tag or a commit; the main branch if None.
    """

    name: str
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None


def place_of(name: Any, revision: Any) -> Place:
    """The place that a name means: a folder that exists, else a repository.

    Args:
        name: A folder or a repository, which may begin with `local-dir:` or `hf-hub:` and end with
            `@` and a revision, as timm writes them.
        revision: The revision, if it is not in the name.

    Raises:
        ArgumentError: It is neither, or there are two revisions.
        WeightsFileNotFoundError: There is no such folder.
    """
    given = os.fspath(name) if isinstance(name, os.PathLike) else name
    given = text("`name`", given, "a repository of the Hugging Face hub, or a folder")
    found = given.removeprefix("local-dir:")
    if found != given or isinstance(name, os.PathLike) or os.path.isdir(found):
        if revision is not None:
            raise ArgumentError(f"`revision` of the folder {found}: expected none, got {revision}")
        if not os.path.isdir(found):
            raise WeightsFileNotFoundError(f"{found}: expected a folder with a model, got none")
        return Place(name=found, folder=Path(found))
    for prefix in ("hf-hub:", "hf_hub:"):
        found = found.removeprefix(prefix)
    found, at, inner = found.partition("@")
    if at and revision is not None:
        raise ArgumentError(f"`revision` of {given}: expected none beside @{inner}, got {revision}")
    revision = inner if at else revision
    if revision is not None and not text("`revision`", revision, "a branch, tag or commit"):
        raise ArgumentError(f"`revision` of {given}: expected a branch, tag or commit, got none")
    parts = found.split("/")
    if len(parts) != PARTS or not all(parts) or any(part.startswith(".") for part in parts):
        raise ArgumentError(
            f"`name`: expected a folder that exists, or a repository owner/name, got {shown(given)}"
        )
    return Place(name=found, repository=found, revision=revision)


@dataclass(frozen=True, kw_only=True)
class Access:
    """The access to the hub.

    Attributes:
        token: A token, True for the one that `hf auth login` stored, False for none; None: the
            stored one, if there is one.
        cache: The folder of the cache; that of huggingface_hub if None.
    """

    token: str | bool | None = None
    cache: Path | None = None

    @classmethod
    def of(cls, token: Any, cache: Any) -> Access:
        """Check the arguments.

        Raises:
            ArgumentError: One is of another type.
        """
        if token is not None and not isinstance(token, str | bool):
            # Without its value, which is a secret.
            raise ArgumentError(
                f"`token`: expected text, True, False or None, got {type(token).__name__}"
            )
        folder = None if cache is None else path_of("`cache_dir`", cache)
        return cls(token=token, cache=folder)


def file_of(place: Place, name: str, access: Access) -> Path | None:
    """A file of a model's place, from the cache or downloaded; None if the place has no such file.

    Raises:
        MissingPackageError: It is a repository, and huggingface_hub is not installed.
        WeightsError: The repository is not there, is private, or the hub does not answer.
    """
    if place.folder is not None:
        path = place.folder / name
        return path if path.exists() else None
    api = _api("downloading from the Hugging Face hub")
    forbidden = next((variable for variable in OFFLINE if is_set(variable)), None)
    from huggingface_hub import errors

    with _explained(place, forbidden):
        try:
            path = api.hf_hub_download(
                place.repository,
                name,
                revision=place.revision,
                cache_dir=access.cache or hub_cache(),
                token=access.token,
                local_files_only=forbidden is not None,
            )
        except errors.LocalEntryNotFoundError:
            if forbidden is not None and _is_absent(place, name, access):
                return None
            raise
        except errors.EntryNotFoundError:
            return None
    return Path(path)


def push(
    folder: Path,
    repository: Any,
    access: Access,
    *,
    private: bool | None,
    revision: str | None,
    message: str,
    create_pr: bool,
) -> str:
    """Upload the files of a folder in one commit, creating the repository if there is none.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        ArgumentError: The repository's name is no owner/name or name.
        MissingPackageError: huggingface_hub is not installed.
        WeightsError: The hub refuses, or does not answer.
    """
    api = _api("uploading to the Hugging Face hub")
    name = text("`repo_id`", repository, "a repository, owner/name")
    forbidden = next((variable for variable in OFFLINE if is_set(variable)), None)
    if forbidden is not None:
        raise WeightsFileError(f"{name}: {forbidden} forbids uploading; unset it")
    from huggingface_hub import CommitOperationAdd

    place = Place(name=name, repository=name, revision=revision)
    with _explained(place, None):
        made = api.create_repo(name, private=private, exist_ok=True, token=access.token)
        if revision is not None and not create_pr:
            api.create_branch(made.repo_id, branch=revision, exist_ok=True, token=access.token)
        commit = api.create_commit(
            made.repo_id,
            [
                CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file)
                for file in sorted(folder.iterdir())
            ],
            commit_message=message,
            revision=revision,
            create_pr=create_pr,
            token=access.token,
        )
    return str(commit.pr_url or commit.commit_url)


def is_installed() -> bool:
    """Whether huggingface_hub is installed."""
    try:
        _api("this")
    except MissingPackageError:
        return False
    return True


def _api(what: str) -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingPackageError(
            f"{what} needs huggingface_hub: pip install '{NAME}[hub]'"
        ) from error
    return HfApi(endpoint=endpoint(), library_name="cnnzoo")


def _is_absent(place: Place, name: str, access: Access) -> bool:
    """Whether the cache has other files of the revision, but not this one."""
    from huggingface_hub import try_to_load_from_cache

    cache = access.cache or hub_cache()
    if name == CONFIG or place.repository is None:
        return False
    known = try_to_load_from_cache(
        place.repository, CONFIG, cache_dir=cache, revision=place.revision
    )
    return isinstance(known, str)


@contextmanager
def _explained(place: Place, forbidden: str | None) -> Iterator[None]:
    """Turn errors of huggingface_hub into ours, which say what to do."""
    from huggingface_hub import errors

    at = f"{place.name}{'' if place.revision is None else f'@{place.revision}'}"
    where = f"{at} at {endpoint()}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise WeightsFileError(
            f"{where}: its owner gives access on request; ask for it there, then give a `token`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsFileNotFoundError(f"{where}: there is no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsFileNotFoundError(
            f"{where}: there is no such repository, or it is private: give a `token` that may read "
            "it, or run `hf auth login`"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        why = f"{forbidden} forbids downloading it" if forbidden else "the hub does not answer"
        raise WeightsFileNotFoundError(f"{where}: it is not in the cache, and {why}") from error
    except errors.HFValidationError as error:
        raise ArgumentError(f"a repository: {error}") from error
    except (errors.HfHubHTTPError, OSError, RuntimeError, ValueError) as error:
        # Of a failed upload, the cause says why.
        told = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise WeightsError(f"{where}: {told}") from error
