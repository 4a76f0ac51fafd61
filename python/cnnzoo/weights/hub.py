"""Downloads published weights, sharing the caches of torch.hub, huggingface_hub and Keras.

Environment variables: `CNNZOO_OFFLINE=1` forbids network access, and so does `HF_HUB_OFFLINE=1` for
timm's weights; `CNNZOO_REFUSE_RESTRICTED=1` refuses weights whose licence restricts their use.
`TORCH_HOME`, `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `KERAS_HOME` and `XDG_CACHE_HOME` have the
same meaning as in those libraries, and `https_proxy` its usual one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Protocol

from cnnzoo._download import (
    HEADERS,
    Job,
    Patience,
    digest,
    download,
    open_url,
    persist,
    refused,
)
from cnnzoo._text import Out
from cnnzoo.errors import WeightsError, WeightsFileError, WeightsFileNotFoundError

__all__ = ["Patience", "fetch"]

# Names of the weights file in timm's repositories, the safer format first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
LICENSE_TEXTS = {"cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/"}


class Wanted(Protocol):
    """The facts needed to download weights, which `Published` has."""

    @property
    def tag(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def source_name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def license(self) -> str: ...
    @property
    def restricted(self) -> bool: ...


def fetch(published: Wanted, *, patience: Patience | None = None) -> Path:
    """The file of published weights: from the cache, else downloaded into it.

    On a terminal, stderr shows the progress. A file whose hash is known is checked, whether cached
    or downloaded. An interrupted download resumes on the next call.

    Args:
        published: Weights of `published_weights(name)`.
        patience: Timeouts and retries.

    Raises:
        WeightsError: The weights are not there, cannot be downloaded or may not be used; the
            message names the address and the path, and says what to do.
    """
    patience = patience or Patience()
    if published.restricted and is_set("CNNZOO_REFUSE_RESTRICTED"):
        raise WeightsError(
            f"the weights {published.tag!r} of {published.source_name} ({published.address}) are "
            f"under the restricted licence {_license(published)}, which CNNZOO_REFUSE_RESTRICTED "
            "forbids; choose others, or unset it"
        )
    if "://" in published.address:
        return _from_server(published, patience)
    return _from_hub(published, patience)


def cached(published: Wanted) -> Path | None:
    """The file of published weights in the cache, whatever its content; none if not there."""
    if "://" in published.address:
        path, _ = _place(published)
        return path if path.exists() else None
    folder = _folder(published.address)
    found = (_snapshot(folder, file) for file in HUB_FILES)
    return next((path for path in found if path is not None), None)


# ---- files with an address


def _place(published: Wanted) -> tuple[Path, str]:
    """The path of a file in its cache, and the environment variable that moves the cache."""
    name = Path(urllib.parse.urlsplit(published.address).path).name
    if published.source == "keras":
        return _keras_cache() / name, "KERAS_HOME"
    return _torch_cache() / name, "TORCH_HOME"


def _from_server(published: Wanted, patience: Patience) -> Path:
    url = published.address
    path, setting = _place(published)
    if path.exists():
        _check_cached(path, published.hash)
        return path
    _go_online(published, url, path, "CNNZOO_OFFLINE")
    job = Job(name=path.name, url=url, path=path, hash=published.hash, setting=setting)
    download(job, patience)
    return path


def _torch_cache() -> Path:
    """The folder of torch.hub's weights files, also if the program has set another one."""
    if (torch_hub := sys.modules.get("torch.hub")) is not None:
        return Path(torch_hub.get_dir()) / "checkpoints"
    home = os.environ.get("TORCH_HOME") or os.path.join(_user_cache(), "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def _user_cache() -> str:
    return os.environ.get("XDG_CACHE_HOME") or "~/.cache"


# ---- repositories of the hub


@dataclass(frozen=True, kw_only=True)
class _HubFile:
    """The facts about a file that the hub's headers give."""

    commit: str
    etag: str
    size: int | None


def _from_hub(published: Wanted, patience: Patience) -> Path:
    repository = published.address
    folder = _folder(repository)
    for file in HUB_FILES:
        if (path := _cached(folder, file)) is not None:
            return path
    base = f"{endpoint()}/{repository}/resolve"
    offline = ("CNNZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    _go_online(published, f"{base}/main/{HUB_FILES[0]}", folder, *offline)
    for file in HUB_FILES:
        try:
            return _download_from_hub(published, folder, base, file, patience)
        except WeightsFileNotFoundError:
            if file == HUB_FILES[-1]:
                raise
    raise AssertionError("a loop over no files")


def _download_from_hub(
    published: Wanted, folder: Path, base: str, file: str, patience: Patience
) -> Path:
    ask = Job(name=file, url=f"{base}/main/{file}", path=folder, setting="HF_HOME")
    facts = persist(ask, patience, lambda: _ask_hub(ask, patience))
    blob = folder / "blobs" / facts.etag
    # The hub names large files by their sha256.
    known = f"sha256:{facts.etag}" if re.fullmatch("[0-9a-f]{64}", facts.etag) else ""
    if not blob.exists():
        job = Job(
            name=f"{published.address}/{file}",
            url=f"{base}/{facts.commit}/{file}",
            path=blob,
            hash=known,
            size=facts.size,
            setting="HF_HOME",
        )
        download(job, patience)
    try:
        return _link(folder, facts.commit, file, blob)
    except OSError as error:
        raise ask.failed_on_disk(error.strerror or str(error)) from error


class _StayOnServer(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the hub, but not to the storage, whose response lacks the facts."""

    def redirect_request(  # noqa: PLR0917 (the standard library's)
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            return None
        return urllib.request.Request(newurl, headers=HEADERS, method="HEAD")


def _ask_hub(job: Job, patience: Patience) -> _HubFile:
    request = urllib.request.Request(job.url, headers=HEADERS, method="HEAD")
    headers: Message
    try:
        with open_url(job, patience, request, _StayOnServer()) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        if not 300 <= error.code < 400:  # noqa: PLR2004
            raise refused(job, error) from error
        headers = error.headers
    commit = headers.get("X-Repo-Commit", "")
    etag = str(headers.get("X-Linked-Etag") or headers.get("ETag") or "")
    etag = etag.removeprefix("W/").strip('"')
    size = str(headers.get("X-Linked-Size") or headers.get("Content-Length") or "")
    # They become file names.
    if not re.fullmatch("[0-9a-f]{40}", commit) or not re.fullmatch("[0-9A-Za-z-]{1,128}", etag):
        raise job.failed(
            "the answer is not that of a Hugging Face hub",
            "see whether a proxy or login page answers, or correct HF_ENDPOINT",
        )
    # The Content-Length of a redirect is not the file's.
    linked = "X-Linked-Size" in headers or "Location" not in headers
    return _HubFile(commit=commit, etag=etag, size=int(size) if size.isdigit() and linked else None)


def _folder(repository: str) -> Path:
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def _snapshot(folder: Path, file: str) -> Path | None:
    """The file at the last seen commit of `main`, as huggingface_hub takes it offline."""
    try:
        commit = (folder / "refs" / "main").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    path = folder / "snapshots" / commit / file
    return path if path.exists() else None


def _cached(folder: Path, file: str) -> Path | None:
    """The same file, if its content is that which its name promises.

    Raises:
        WeightsError: It is damaged, or cannot be read.
    """
    path = _snapshot(folder, file)
    if path is None:
        return None
    blob = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
    _check_cached(path, f"sha256:{blob}" if re.fullmatch("[0-9a-f]{64}", blob) else "")
    return path


def _link(folder: Path, commit: str, file: str, blob: Path) -> Path:
    """Link a blob into the snapshot of a commit, and record the commit as that of `main`."""
    path = folder / "snapshots" / commit / file
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".cnnzoo-") as beside:
        if not path.exists():
            new = Path(beside, "file")
            # Relative to its final path, so that the cache may be moved.
            try:
                new.symlink_to(os.path.relpath(blob, path.parent))
            except OSError:
                shutil.copyfile(blob, new)
            new.replace(path)
        branch = Path(beside, "main")
        branch.write_text(commit)
        branch.replace(folder / "refs" / "main")
    return path


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache."""
    folder = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if not folder:
        home = os.environ.get("HF_HOME") or os.path.join(_user_cache(), "huggingface")
        folder = os.path.join(home, "hub")
    return Path(os.path.expandvars(folder)).expanduser()


def endpoint() -> str:
    """The address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


# ---- for both


def _go_online(published: Wanted, url: str, path: Path, *forbidding: str) -> None:
    """Check that network access is allowed, and print the licence if it is restricted.

    Raises:
        WeightsFileNotFoundError: The environment forbids network access.
    """
    for variable in forbidding:
        if is_set(variable):
            raise WeightsFileNotFoundError(
                f"the weights {published.tag!r} of {published.source_name} are not in the cache at "
                f"{path}, and {variable} forbids downloading them from {url}; unset it once, or "
                "copy the cache of another machine"
            )
    if published.restricted:
        with contextlib.suppress(OSError, ValueError):
            Out(sys.stderr).print(
                f"cnnzoo: the weights {published.tag} of {published.source_name} are under the "
                f"restricted licence {_license(published)}",
                cut=False,
            )


def _license(published: Wanted) -> str:
    text = LICENSE_TEXTS.get(published.license)
    return f"{published.license} ({text})" if text else published.license


def _check_cached(path: Path, expected: str) -> None:
    try:
        got = digest(path, expected)
    except OSError as error:
        raise WeightsFileError(
            f"{path}: {error.strerror}; make it readable, or delete it to download it again"
        ) from error
    if got != expected:
        raise WeightsError(
            f"{path}: expected {expected.replace(':', ' ')}, got {got.partition(':')[2]}; it is "
            "damaged or another file: delete it to download it again"
        )


def is_set(variable: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(variable, "").strip().lower() in {"1", "on", "yes", "true"}
