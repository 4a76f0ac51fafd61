"""Downloads files: with resumption, retries and a hash check, and never half a file in place."""

from __future__ import annotations

from cnnzoo._download.file import digest, download
from cnnzoo._download.job import Job, Patience
from cnnzoo._download.request import HEADERS, open_url, refused
from cnnzoo._download.retry import persist

__all__ = [
    "HEADERS",
    "Job",
    "Patience",
    "digest",
    "download",
    "open_url",
    "persist",
    "refused",
]
