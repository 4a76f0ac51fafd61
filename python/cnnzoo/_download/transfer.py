"""Receives a file from a server, from where the last attempt stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
from io import FileIO
from pathlib import Path

from cnnzoo._download.job import Job, Patience
from cnnzoo._download.progress import Progress, megabytes
from cnnzoo._download.request import HEADERS, open_url, refused, sort_error
from cnnzoo._download.retry import PROGRESS, Interrupted

CHUNK = 1 << 20
# The most bytes of a file of unknown size; the largest published weights have half as many.
MOST_UNANNOUNCED = 16 << 30
RANGE_NOT_SATISFIABLE = 416


class Transfer:
    """Attempts at one file; each resumes where the one before stopped."""

    def __init__(self, job: Job, patience: Patience, file: FileIO) -> None:
        self.job = job
        self.patience = patience
        self.file = file
        self.validator: str | None = None

    def attempt(self) -> None:
        """Receive the rest of the file.

        Raises:
            Interrupted: The error is temporary.
            WeightsError: The error is permanent.
        """
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
                    gained=PROGRESS,
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
        with Progress(self.job.name, whole, start) as progress:
            while chunk:
                done += self._write(chunk)
                if whole is None and done > self._most():
                    self.file.truncate(0)
                    raise self.job.failed(
                        f"the server sent more than {megabytes(self._most())} MB without "
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
                f"the connection was cut after {megabytes(done)} of {megabytes(whole)} MB",
                gained=done - start,
            )

    def _most(self) -> int:
        """The most bytes taken from a server that does not announce the length."""
        return MOST_UNANNOUNCED if self.job.size is None else self.job.size

    def _read(self, response: http.client.HTTPResponse, start: int, done: int) -> bytes:
        try:
            return response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            sorted_ = sort_error(self.job, error)
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
                f"it needs {megabytes(whole - start)} MB, and the disk has {megabytes(free)} free"
            )


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
