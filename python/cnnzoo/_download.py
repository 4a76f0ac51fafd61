"""Downloads a file: with resumption, retries and a hash check, and never half a file in place."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeVar

from cnnzoo._files import open_regular
from cnnzoo._text import Out
from cnnzoo.errors import WeightsError, WeightsFileError, WeightsFileNotFoundError

T = TypeVar("T")

# Compressed transfer would hide the length of the file.
HEADERS = {"User-Agent": "cnnzoo", "Accept-Encoding": "identity"}
CHUNK = 1 << 20
# The most bytes of a file of unknown size; the largest published weights have half as many.
MOST_UNANNOUNCED = 16 << 30
TOO_MANY_REQUESTS = 429
WORTH_ANOTHER_TRY = {408, 425, TOO_MANY_REQUESTS}
RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Timeouts and retries of downloads, with exponential backoff.

    Attributes:
        attempts: Attempts in a row without progress after which the download fails.
        timeout: Seconds without a byte after which an attempt fails.
        pause: Seconds before the first retry; doubled before each further one.
        longest: The longest pause in seconds; a server that asks for more is an error.
    """

    attempts: int = 5
    timeout: float = 30.0
    pause: float = 1.0
    longest: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A file to download.

    Attributes:
        name: Its name in the progress bar.
        url: The source.
        path: The target.
        hash: `sha256:` or `md5:` and the first hexadecimal digits; empty if not known.
        size: Bytes; none if not known.
        setting: The environment variable that moves the cache.
        what: The file's contents, for messages.
    """

    name: str
    url: str
    path: Path
    hash: str = ""
    size: int | None = None
    setting: str
    what: str = "weights"

    def failed(self, what: str, advice: str) -> WeightsError:
        """An error that names the address and the path."""
        return WeightsError(f"{self.url} for {self.path}: {what}; {advice}")

    def failed_on_disk(self, what: str) -> WeightsFileError:
        """An error of the file system, which names the address and the path."""
        return WeightsFileError(
            f"cannot write {self.path} with {self.url}: {what}; free space or grant permission "
            f"there, or set {self.setting} to another folder"
        )


class Interrupted(Exception):  # noqa: N818 (it is an event of the loop, and never leaves it)
    """A failed attempt that may be retried."""

    def __init__(self, reason: str, *, wait: float | None = None, gained: int = 0) -> None:
        super().__init__(reason)
        self.wait = wait
        self.gained = gained


def persist(job: Job, patience: Patience, attempt: Callable[[], T]) -> T:
    """Retry an interrupted attempt, with exponential backoff.

    Raises:
        WeightsError: Too many attempts in a row made no progress, or the server asks to wait for
            longer than `patience.longest`.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except Interrupted as error:
            failures = 1 if error.gained >= CHUNK else failures + 1
            if failures >= patience.attempts:
                tries = f" {failures} times in a row" if failures > 1 else ""
                raise job.failed(
                    f"{error}{tries}",
                    "try again later, which resumes the download, or put the file there "
                    "by other means",
                ) from error
            pause = min(patience.pause * 2 ** (failures - 1), patience.longest)
            if error.wait is not None and error.wait > patience.longest:
                raise job.failed(
                    f"{error}, and the server asks to wait {error.wait:.0f} seconds",
                    "try again after that",
                ) from error
            with _line(f"{error}; trying again"):
                time.sleep(pause if error.wait is None else error.wait)


def open_url(
    job: Job,
    patience: Patience,
    request: urllib.request.Request,
    *handlers: urllib.request.BaseHandler,
) -> http.client.HTTPResponse:
    """Send a request; errors are sorted into temporary and permanent ones.

    Raises:
        Interrupted: The error is temporary.
        HTTPError: The server answers with a status that is neither success nor worth a retry.
        WeightsError: The error is permanent.
    """
    try:
        opener = urllib.request.build_opener(*handlers)
        response: http.client.HTTPResponse = opener.open(request, timeout=patience.timeout)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in WORTH_ANOTHER_TRY or error.code >= 500:  # noqa: PLR2004
            wait = _retry_after(error.headers.get("Retry-After"))
            raise Interrupted(
                f"the server answered {error.code} {error.reason}", wait=wait
            ) from error
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _sort(job, error) from error


def _sort(job: Job, error: Exception) -> Exception:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return job.failed(
            f"no network, or no such server ({reason.strerror})",
            "connect, set https_proxy if there is one, or put the file there by other means",
        )
    if isinstance(reason, ssl.SSLCertVerificationError):
        return job.failed(
            f"the server's certificate does not verify ({reason.verify_message})",
            "set SSL_CERT_FILE to the certificates of your proxy if it replaces them",
        )
    if isinstance(reason, TimeoutError):
        return Interrupted("the server stopped responding")
    if isinstance(reason, OSError):
        return Interrupted(f"the connection failed ({reason.strerror or reason})")
    if isinstance(reason, http.client.HTTPException):
        return Interrupted(f"the connection failed ({type(reason).__name__})")
    return job.failed(f"the address cannot be requested ({reason})", "correct it")


def _retry_after(text: str | None) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


# ---- the file


def download(job: Job, patience: Patience) -> None:
    """Download a file, or wait for another process that does.

    A partial download is kept beside the target as `.partial` if it can be resumed.

    Raises:
        WeightsError: It cannot be downloaded; the message says what to do.
    """
    try:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with _partial(job.path) as file:
            if file is not None:
                _fill(job, patience, file)
    except OSError as error:
        if isinstance(error, WeightsError):
            raise
        raise job.failed_on_disk(error.strerror or str(error)) from error


def _fill(job: Job, patience: Patience, file: FileIO) -> None:
    partial = Path(os.fsdecode(file.name))
    # Without a hash, nothing tells whether the partial file is of the same file as the rest.
    if not job.hash:
        file.truncate(0)
    resumed = file.seek(0, os.SEEK_END) > 0
    while True:
        transfer = _Transfer(job, patience, file)
        persist(job, patience, transfer.attempt)
        got = digest(partial, job.hash)
        if got == job.hash:
            break
        file.truncate(0)
        if not resumed:
            partial.unlink()
            raise job.failed(
                f"expected {job.hash.replace(':', ' ')}, got {got.partition(':')[2]}",
                "it was deleted: try again, and report the address if this persists",
            )
        # An earlier process downloaded part of another file: start over once.
        resumed = False
    os.fsync(file.fileno())
    partial.replace(job.path)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[FileIO | None]:
    """The partial file, locked; none if another process has completed the download meanwhile.

    The lock is on the partial file itself, so no lock file is left behind.
    """
    partial = path.with_name(path.name + ".partial")
    while True:
        with FileIO(partial, "a") as file:
            _lock(file, path)
            if _is(partial, file):
                try:
                    yield file
                finally:
                    # An empty file has nothing to resume.
                    if os.fstat(file.fileno()).st_size == 0 and _is(partial, file):
                        partial.unlink()
                return
        # The process that held the lock has renamed or removed the file.
        if path.exists():
            yield None
            return


def _lock(file: FileIO, path: Path) -> None:
    with contextlib.suppress(BlockingIOError):
        return _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with _line(f"{path.name}: waiting for another process that downloads it"):
        _flock(file, fcntl.LOCK_EX)


def _flock(file: FileIO, how: int) -> None:
    try:
        fcntl.flock(file, how)
    except OSError as error:
        # Some network file systems have no locks; there, only one process may download at a time.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:
            raise


def _is(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def digest(path: Path, like: str) -> str:
    """The hash of a file, of the same kind and with as many digits as `like`."""
    kind, _, digits = like.partition(":")
    if not kind:
        return ""
    state = hashlib.new(kind, usedforsecurity=False)
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return f"{kind}:{state.hexdigest()[: len(digits)]}"


class _Transfer:
    """Attempts at one file; each resumes where the one before stopped."""

    def __init__(self, job: Job, patience: Patience, file: FileIO) -> None:
        self.job = job
        self.patience = patience
        self.file = file
        self.validator: str | None = None

    def attempt(self) -> None:
        start = self.file.seek(0, os.SEEK_END)
        headers = dict(HEADERS)
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.validator:
                headers["If-Range"] = self.validator
        try:
            request = urllib.request.Request(self.job.url, headers=headers)
        except ValueError as error:
            raise self.job.failed(
                f"the address cannot be requested ({error})", "correct it"
            ) from error
        try:
            response = open_url(self.job, self.patience, request)
        except urllib.error.HTTPError as error:
            if error.code == RANGE_NOT_SATISFIABLE and start:
                if error.headers.get("Content-Range", "").endswith(f"*/{start}"):
                    return
                self.file.truncate(0)
                raise Interrupted(
                    "the file on the server is shorter than the part that was downloaded",
                    wait=0.0,
                    gained=CHUNK,
                ) from error
            raise refused(self.job, error) from error
        with response:
            self._receive(response, start)

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        etag = response.headers.get("ETag", "")
        self.validator = etag if etag.startswith('"') else None
        whole, begin = _extent(response)
        chunk = self._read(response, start, start)
        self._check_content(response, chunk)
        if begin != start:
            # The server sends the whole file: it does not support ranges, or the file has changed.
            if begin != 0:
                raise Interrupted(f"the server sent from byte {begin} instead of {start}")
            start = 0
            self.file.truncate(0)
        self._check_length(whole, start)
        done = start
        with _Progress(self.job.name, whole, start) as progress:
            while chunk:
                done += self._write(chunk)
                if whole is None and done > self._most():
                    self.file.truncate(0)
                    raise self.job.failed(
                        f"the server sent more than {_megabytes(self._most())} MB without "
                        "announcing the size",
                        "report the address if this persists",
                    )
                progress.show(done)
                chunk = self._read(response, start, done)
        if done == 0:
            raise self.job.failed(
                "the server sent an empty file", "try again later, or put the file there yourself"
            )
        if whole is not None and done != whole:
            raise Interrupted(
                f"the connection was cut after {_megabytes(done)} of {_megabytes(whole)} MB",
                gained=done - start,
            )

    def _most(self) -> int:
        """The most bytes taken from a server that does not announce the length."""
        return MOST_UNANNOUNCED if self.job.size is None else self.job.size

    def _read(self, response: http.client.HTTPResponse, start: int, done: int) -> bytes:
        try:
            return response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            sorted_ = _sort(self.job, error)
            if isinstance(sorted_, Interrupted):
                sorted_.gained = done - start
            raise sorted_ from error

    def _write(self, chunk: bytes) -> int:
        left = memoryview(chunk)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError as error:
            # A disk that is full is freed again.
            with contextlib.suppress(OSError):
                self.file.truncate(0)
                Path(os.fsdecode(self.file.name)).unlink()
            raise self.job.failed_on_disk(error.strerror or str(error)) from error
        return len(chunk)

    def _check_content(self, response: http.client.HTTPResponse, chunk: bytes) -> None:
        kind = response.headers.get_content_type()
        beginning = chunk[:64].lstrip().lower()
        if kind == "text/html" or beginning.startswith((b"<!doctype html", b"<html")):
            raise self.job.failed(
                f"a web page came instead of {self.job.what}, as proxies and login pages send it",
                "open the address in a browser to see what it says, or put the file there by "
                "other means",
            )

    def _check_length(self, whole: int | None, start: int) -> None:
        if whole is None:
            return
        if self.job.size is not None and self.job.size != whole:
            raise self.job.failed(
                f"expected {self.job.size} bytes, and the server has {whole}",
                "try again later, and report the address if this persists",
            )
        folder = self.job.path.parent
        free = shutil.disk_usage(folder).free
        if whole - start > free:
            raise self.job.failed_on_disk(
                f"it needs {_megabytes(whole - start)} MB, and the disk has {_megabytes(free)} free"
            )


def refused(job: Job, error: urllib.error.HTTPError) -> WeightsError:
    """The error for a status that no retry changes."""
    what = f"the server answered {error.code} {' '.join(str(error.reason).split())}"
    if 300 <= error.code < 400:  # noqa: PLR2004
        what = f"the server redirects too often, last by {error.code}"
    if error.code in {404, 410}:
        advice = "the file has moved: update cnnzoo, or put it there by other means"
        return WeightsFileNotFoundError(f"{job.url} for {job.path}: {what}; {advice}")
    return job.failed(what, "check whether a proxy or the server requires a login")


def _extent(response: http.client.HTTPResponse) -> tuple[int | None, int]:
    """The length of the whole file, and the offset at which this response begins."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.match(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        if not found:
            raise Interrupted("the server sent a part of the file without its range")
        return (None if found[2] == "*" else int(found[2])), int(found[1])
    length = response.headers.get("Content-Length")
    return (int(length) if length and length.isdigit() else None), 0


# ---- progress


class _Progress:
    """A progress line on a terminal; nothing elsewhere."""

    def __init__(self, name: str, whole: int | None, start: int) -> None:
        self.out = Out(sys.stderr)
        self.name = name
        self.whole = whole
        self.start = start
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.out.is_terminal:
            self.out.status("")

    def show(self, done: int) -> None:
        now = time.monotonic()
        last = done == self.whole
        if not self.out.is_terminal or (now - self.shown < 0.1 and not last):  # noqa: PLR2004
            return
        self.shown = now
        speed = _megabytes((done - self.start) / max(now - self.began, 1e-3))
        if self.whole:
            text = f"{done / self.whole:4.0%}  {_megabytes(done)} of {_megabytes(self.whole)} MB"
        else:
            text = f"{_megabytes(done)} MB"
        self._status(f"{self.name}  {text}  {speed} MB/s")

    def _status(self, text: str) -> None:
        columns = self.out.columns or len(text)
        # The numbers that change are at the end.
        self.out.status(text if len(text) < columns else text[len(text) - columns + 1 :])


@contextlib.contextmanager
def _line(text: str) -> Iterator[None]:
    """A line that the terminal shows until the block ends."""
    out = Out(sys.stderr)
    if not out.is_terminal:
        yield
        return
    out.status(text)
    try:
        yield
    finally:
        out.status("")


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f}"
