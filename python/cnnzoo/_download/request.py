"""HTTP requests, whose errors are sorted into temporary and permanent ones."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request

from cnnzoo._download.job import Job, Patience
from cnnzoo._download.retry import Interrupted
from cnnzoo.errors import WeightsError, WeightsFileNotFoundError

# Compressed transfer would hide the length of the file.
HEADERS = {"User-Agent": "cnnzoo", "Accept-Encoding": "identity"}
TOO_MANY_REQUESTS = 429
WORTH_ANOTHER_TRY = {408, 425, TOO_MANY_REQUESTS}


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
        raise sort_error(job, error) from error


def sort_error(job: Job, error: Exception) -> Exception:
    """`Interrupted` where the error of a connection is temporary, `WeightsError` where not."""
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


def refused(job: Job, error: urllib.error.HTTPError) -> WeightsError:
    """The error for a status that no retry changes."""
    what = f"the server answered {error.code} {' '.join(str(error.reason).split())}"
    if 300 <= error.code < 400:  # noqa: PLR2004
        what = f"the server redirects too often, last by {error.code}"
    if error.code in {404, 410}:
        advice = "the file has moved: update cnnzoo, or put it there by other means"
        return WeightsFileNotFoundError(f"{job.url} for {job.path}: {what}; {advice}")
    return job.failed(what, "check whether a proxy or the server requires a login")
