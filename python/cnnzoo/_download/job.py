"""A file to download, and how long to try."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnzoo.errors import WeightsError, WeightsFileError


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
