"""Published weights from servers and caches. Every server is in this file, on the loopback."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.server
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import cnnzoo as cz
from cnnzoo import _download
from cnnzoo._download import transfer
from cnnzoo.weights import hub
from loopback import Loopback

# Quick, so that the tests are.
IMPATIENT = hub.Patience(attempts=3, timeout=5.0, pause=0.01, longest=2.0)
BODY = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


# ---- a server that misbehaves as told


@dataclass
class Answer:
    """The answer to one request; by default a good one."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None
    pause: float = 0.0
    ranges: bool = True
    length: bool = True
    etag: bool = True


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class Server(Loopback):
    """Serves `files`, answering the first requests for each path as `plan` says."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.plan: dict[str, list[Answer]] = {}
        self.always: dict[str, Answer] = {}
        self.seen: list[Seen] = []
        super().__init__()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.seen.append(Seen(request.command, path, headers))
        plan = self.plan.get(path)
        how = plan.pop(0) if plan else self.always.get(path, Answer())
        body = how.body if how.body is not None else self.files.get(path, b"")
        status = (
            404 if how.status == 200 and path not in self.files and how.body is None else how.status
        )
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        start = 0
        if status == 200 and how.ranges and "range" in headers:
            same = headers.get("if-range", etag) == etag
            start = int(headers["range"].removeprefix("bytes=").rstrip("-")) if same else 0
            if start >= len(body):
                status, start = 416, len(body)
            elif same:
                status = 206
        request.send_response(status)
        sent = {"ETag": etag} if how.etag and status < 300 else {}
        if status == 206:
            sent["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if status == 416:
            sent["Content-Range"] = f"bytes */{len(body)}"
        if how.length:
            sent["Content-Length"] = str(len(body) - start)
        for key, value in (sent | how.headers).items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        rest = body[start : start + how.cut if how.cut is not None else None]
        try:
            for position in range(0, len(rest), 500_000):
                request.wfile.write(rest[position : position + 500_000])
                request.wfile.flush()
                time.sleep(how.pause)
        except OSError:
            pass

    def of(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files["/net-01234567.pth"] = BODY
    yield server
    server.close()


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the caches nor the proxies of whoever runs the tests."""
    for variable in list(os.environ):
        if re.match(r"(CNNZOO|HF|HUGGINGFACE|TRANSFORMERS|XDG|TORCH_HOME|KERAS_HOME)", variable):
            monkeypatch.delenv(variable)
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "torch" / "hub" / "checkpoints" / "net-01234567.pth"


@pytest.fixture
def partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def at(server: Server, **changes: Any) -> cz.Published:
    """The row that the table would have for the server's file."""
    published = cz.Published(
        tag="torchvision/TEST",
        source="torchvision",
        source_name="net",
        address=f"{server.address}/net-01234567.pth",
        hash=f"sha256:{SHA256[:8]}",
    )
    return replace(published, **changes)


def plan(server: Server, *answers: Answer) -> None:
    server.plan["/net-01234567.pth"] = list(answers)


def fail(published: cz.Published, patience: hub.Patience = IMPATIENT) -> str:
    """The one sentence that says why, and where, and what to do."""
    with pytest.raises(cz.WeightsError) as caught:
        hub.fetch(published, patience=patience)
    message = str(caught.value)
    assert "\n" not in message
    assert published.address in message
    return message


# ---- whole files


def test_a_file_is_downloaded_once(server: Server, target: Path) -> None:
    assert hub.fetch(at(server)) == target
    assert target.read_bytes() == BODY
    assert os.listdir(target.parent) == [target.name]
    assert hub.fetch(at(server)) == target
    assert len(server.seen) == 1


def test_the_mode_is_that_of_any_new_file(server: Server, target: Path) -> None:
    hub.fetch(at(server))
    other = target.with_name("other")
    other.touch()
    assert target.stat().st_mode == other.stat().st_mode


def test_a_redirect_is_followed_with_its_range(server: Server, target: Path, partial: Path) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY[:1000])
    server.files["/elsewhere"] = BODY
    plan(server, Answer(status=302, headers={"Location": "/elsewhere"}, body=b""))
    assert hub.fetch(at(server)).read_bytes() == BODY
    assert server.of("/elsewhere")[0].range == "bytes=1000-"
    assert target.exists()


def test_a_file_of_unknown_length_is_downloaded(server: Server, target: Path) -> None:
    plan(server, Answer(length=False))
    assert hub.fetch(at(server)).read_bytes() == BODY


# ---- what is broken off


def test_a_cut_connection_is_resumed(server: Server) -> None:
    plan(server, Answer(cut=1_000_000), Answer(cut=1_500_000))
    assert hub.fetch(at(server), patience=IMPATIENT).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == [None, "bytes=1000000-", "bytes=2500000-"]
    etag = f'"{hashlib.md5(BODY).hexdigest()}"'
    assert server.seen[1].headers["if-range"] == etag


def test_progress_renews_patience_and_its_lack_ends_it(server: Server, partial: Path) -> None:
    every = len(BODY) // 1_200_000 + 1
    patience = replace(IMPATIENT, attempts=2)
    plan(server, *[Answer(cut=1_200_000)] * every)
    assert hub.fetch(at(server), patience=patience).read_bytes() == BODY
    Path(hub.fetch(at(server))).unlink()
    server.always["/net-01234567.pth"] = Answer(cut=10)
    assert "cut after 0.0 of 3.0 MB 2 times in a row; try again later" in fail(at(server), patience)
    assert partial.read_bytes() == BODY[: 2 * 10]


def test_what_an_earlier_process_left_is_resumed(server: Server, partial: Path) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY[:2_000_000])
    assert hub.fetch(at(server)).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == ["bytes=2000000-"]
    assert not partial.exists()


@pytest.mark.parametrize("size", [len(BODY), len(BODY) + 5])
def test_a_partial_file_that_is_whole_or_too_long(server: Server, partial: Path, size: int) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes((BODY + bytes(5))[:size])
    assert hub.fetch(at(server), patience=IMPATIENT).read_bytes() == BODY
    assert len(server.seen) == (1 if size == len(BODY) else 2)


def test_a_server_without_ranges_sends_everything(server: Server, partial: Path) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    server.always["/net-01234567.pth"] = Answer(ranges=False)
    assert hub.fetch(at(server)).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == ["bytes=1000-"]


def test_the_beginning_of_another_file_is_thrown_away(server: Server, partial: Path) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert hub.fetch(at(server)).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == ["bytes=1000-", None]


def test_a_file_that_changes_meanwhile_starts_afresh(server: Server) -> None:
    plan(server, Answer(body=b"x" * 2_000_000, cut=1_500_000))
    assert hub.fetch(at(server), patience=IMPATIENT).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == [None, "bytes=1500000-"]


def test_without_a_hash_nothing_of_an_earlier_process_is_used(
    server: Server, partial: Path
) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert hub.fetch(at(server, hash="")).read_bytes() == BODY
    assert [seen.range for seen in server.seen] == [None]


# A shell may start tests with SIGINT ignored, which children inherit.
INTERRUPTED = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import cnnzoo as cz
from cnnzoo import _download
from cnnzoo.weights import hub
print("ready", flush=True)
hub.fetch(cz.Published(
    tag="torchvision/TEST", source="torchvision", source_name="net",
    address=sys.argv[1], hash=sys.argv[2],
))
"""


def start(published: cz.Published) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INTERRUPTED, published.address, published.hash]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def test_control_c_leaves_a_file_to_go_on_with(server: Server, partial: Path) -> None:
    plan(server, Answer(pause=0.2))
    process = start(at(server))
    wait_for(lambda: partial.exists() and partial.stat().st_size >= 500_000)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in stderr
    kept = partial.stat().st_size
    assert partial.read_bytes() == BODY[:kept]
    assert hub.fetch(at(server)).read_bytes() == BODY
    assert server.seen[-1].range == f"bytes={kept}-"


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- what servers answer


@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_trouble_that_passes_is_waited_out(server: Server, status: int) -> None:
    plan(server, Answer(status=status, body=b"no"), Answer(status=status, body=b"no"))
    assert hub.fetch(at(server), patience=IMPATIENT).read_bytes() == BODY
    assert len(server.seen) == 3


def test_trouble_that_stays_is_an_error(server: Server, target: Path) -> None:
    server.always["/net-01234567.pth"] = Answer(status=500, body=b"no")
    message = fail(at(server))
    assert "answered 500 Internal Server Error 3 times in a row; try again later" in message
    assert str(target) in message
    assert len(server.seen) == 3


def test_what_is_not_there_is_asked_for_once(server: Server, target: Path) -> None:
    server.files.clear()
    message = fail(at(server))
    assert "answered 404 Not Found; the file has moved: update cnnzoo" in message
    assert str(target) in message
    assert len(server.seen) == 1
    with pytest.raises(FileNotFoundError):
        hub.fetch(at(server), patience=IMPATIENT)


def test_what_is_forbidden_is_asked_for_once(server: Server) -> None:
    plan(server, Answer(status=407, body=b"no"))
    assert "answered 407 Proxy Authentication Required; check whether a proxy" in fail(at(server))
    assert len(server.seen) == 1


@pytest.mark.parametrize("date", [False, True])
def test_a_server_that_asks_to_wait_is_waited_for(server: Server, date: bool) -> None:
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    header = {"Retry-After": when if date else "1"}
    plan(server, Answer(status=429, headers=header, body=b"no"))
    began = time.monotonic()
    hub.fetch(at(server), patience=IMPATIENT)
    assert 0.9 < time.monotonic() - began < 4


def test_a_server_that_asks_to_wait_long_is_not(server: Server) -> None:
    plan(server, Answer(status=429, headers={"Retry-After": "3600"}, body=b"no"))
    assert "429 Too Many Requests, and the server asks to wait 3600 seconds" in fail(at(server))


def test_a_server_that_falls_silent_is_given_up(server: Server) -> None:
    server.always["/net-01234567.pth"] = Answer(pause=0.6)
    patience = replace(IMPATIENT, timeout=0.2, attempts=2)
    # Each attempt brings half a megabyte, which is not enough to go on for ever.
    assert "the server stopped responding 2 times in a row" in fail(at(server), patience)
    del server.always["/net-01234567.pth"]
    assert hub.fetch(at(server)).read_bytes() == BODY


def test_a_wrong_hash_is_an_error_and_leaves_nothing(server: Server, target: Path) -> None:
    message = fail(at(server, hash="sha256:00000000"))
    assert f"expected sha256 00000000, got {SHA256[:8]}; it was deleted" in message
    assert str(target) in message
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(headers={"Content-Type": "text/html"}),
        Answer(body=b"\n<!DOCTYPE html><title>Please log in</title>", ranges=False),
    ],
)
def test_a_web_page_is_not_taken_for_weights(server: Server, partial: Path, answer: Answer) -> None:
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY[:1000])
    plan(server, answer)
    assert "a web page came instead of weights, as proxies and login pages" in fail(at(server))
    # What was there before is still good.
    assert partial.read_bytes() == BODY[:1000]
    assert hub.fetch(at(server)).read_bytes() == BODY


def test_nobody_listens(server: Server, target: Path) -> None:
    server.close()
    message = fail(at(server))
    assert "the connection failed (Connection refused) 3 times in a row" in message
    assert str(target) in message


def test_no_such_server(target: Path, server: Server) -> None:
    # A name that RFC 2606 keeps free; the resolver is not asked for it.
    def no_network(*_args: Any, **_options: Any) -> None:
        import socket

        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.getaddrinfo", no_network)
        message = fail(at(server, address="http://weights.invalid/net-01234567.pth"))
    assert "no network, or no such server (Temporary failure in name resolution)" in message
    assert str(target) in message


# ---- disks


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that cannot be written to, also where the tests run as root."""
    # pytest's own folders are closed to others.
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setenv("TORCH_HOME", str(folder))
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    root = os.geteuid() == 0
    yield folder
    if root:
        os.seteuid(0)
    for path in (folder, folder / "hub", folder / "hub" / "checkpoints"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def close(folder: Path) -> None:
    for path in (folder / "hub" / "checkpoints", folder / "hub", folder):
        path.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_a_read_only_cache_is_an_error_and_still_read(server: Server, read_only: Path) -> None:
    target = read_only / "hub" / "checkpoints" / "net-01234567.pth"
    close(read_only)
    message = fail(at(server))
    assert f"cannot write {target}" in message
    assert "Permission denied; free space or grant permission there, or set TORCH_HOME" in message
    assert not server.seen
    if os.getuid() == 0:
        os.seteuid(0)
    target.parent.chmod(0o755)
    target.write_bytes(BODY)
    close(read_only)
    assert hub.fetch(at(server)) == target
    assert not server.seen


def test_a_cache_that_is_no_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    assert "Not a directory; free space" in fail(at(server))


def test_a_disk_without_room_is_told_before(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(target.parents[3])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    assert "it needs 3.0 MB, and the disk has 1.0 free; free space" in fail(at(server))


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, resource.RLIM_INFINITY))
"""


def test_a_disk_that_fills_up_is_not_left_full(server: Server, target: Path) -> None:
    code = FULL + INTERRUPTED
    arguments = [at(server).address, at(server).hash]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"cnnzoo.errors.WeightsFileError: cannot write {target}")
    assert os.strerror(errno.EFBIG) in message
    assert os.listdir(target.parent) == []


# ---- many at once


def test_many_threads_fetch_once(server: Server) -> None:
    plan(server, Answer(pause=0.05))
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: hub.fetch(at(server)), range(6)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert len(server.seen) == 1


def test_many_processes_fetch_once(server: Server, target: Path) -> None:
    plan(server, Answer(pause=0.3))
    processes = [start(at(server)) for _ in range(2)]
    for process in processes:
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
    assert target.read_bytes() == BODY
    assert os.listdir(target.parent) == [target.name]
    assert len(server.seen) == 1


def test_who_waited_goes_on_when_the_first_gives_up(server: Server) -> None:
    plan(server, Answer(pause=0.1, body=b"x" * 3_000_000))
    with ThreadPoolExecutor(2) as pool:
        fetches = [pool.submit(hub.fetch, at(server), patience=IMPATIENT) for _ in range(2)]
    errors = [fetch.exception() for fetch in fetches]
    assert sorted(map(str, map(type, errors))) == sorted(map(str, (cz.WeightsError, type(None))))
    assert len(server.seen) == 2


def test_who_waited_resumes_what_a_killed_process_left(server: Server, target: Path) -> None:
    """The lock ends with its process, and nothing but the whole file stays."""
    plan(server, Answer(pause=0.2))
    first = start(at(server))
    partial = target.with_name(target.name + ".partial")
    wait_for(lambda: partial.exists() and partial.stat().st_size >= 500_000, seconds=60)
    # It may not end before the second asks.
    first.send_signal(signal.SIGSTOP)
    second = start(at(server))
    assert second.stdout is not None
    assert second.stdout.readline() == "ready\n"
    first.kill()
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 0, stderr
    assert target.read_bytes() == BODY
    assert os.listdir(target.parent) == [target.name]
    whole, rest = server.seen
    assert whole.range is None and rest.range is not None
    assert int(rest.range.removeprefix("bytes=").removesuffix("-")) >= 500_000


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_downloaded_to(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    if code == errno.EIO:
        message = fail(at(server))
        assert message.startswith(f"cannot write {target}") and "Input/output error" in message
        assert not server.seen
    else:
        assert hub.fetch(at(server)).read_bytes() == BODY


# ---- what a terminal shows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_progress(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    plan(server, Answer(pause=0.12), Answer())
    hub.fetch(at(server))
    lines = terminal.getvalue().split("\r\x1b[K")
    assert re.fullmatch(r"net-01234567\.pth  100%  3\.0 of 3\.0 MB  [\d.]+ MB/s", lines[-2])
    assert len(lines) > 3
    assert lines[-1] == ""


def test_others_see_nothing(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    hub.fetch(at(server))
    assert capfd.readouterr() == ("", "")


# ---- offline


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_means_offline(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CNNZOO_OFFLINE", value)
    message = fail(at(server))
    assert f"not in the cache at {target}, and CNNZOO_OFFLINE forbids downloading" in message
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY)
    assert hub.fetch(at(server)) == target
    assert not server.seen


def test_the_cache_of_torch_hub_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_HOME")
    folders = [tmp_path / "home" / ".cache"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for folder in (tmp_path / "xdg", *folders):
        if folder in folders:
            monkeypatch.delenv("XDG_CACHE_HOME")
        assert Path(torch.hub.get_dir()) == folder / "torch" / "hub"
        checkpoints = folder / "torch" / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "net-01234567.pth").write_bytes(BODY)
        assert hub.fetch(at(server)).parent == checkpoints
        # As it is found before torch is imported.
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, "torch.hub")
            assert hub.fetch(at(server)).parent == checkpoints
    torch_dir = torch.hub._hub_dir
    torch.hub.set_dir(tmp_path / "told")
    try:
        assert hub.fetch(at(server)).parent == tmp_path / "told" / "checkpoints"
    finally:
        torch.hub._hub_dir = torch_dir
    assert len(server.seen) == 1


def test_torch_hub_finds_what_was_downloaded(server: Server, target: Path) -> None:
    torch.save({"a": torch.ones(3)}, buffer := io.BytesIO())
    server.files["/net-01234567.pth"] = buffer.getvalue()
    digits = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    hub.fetch(at(server, hash=f"sha256:{digits}"))
    state = torch.hub.load_state_dict_from_url(at(server).address, weights_only=True)
    assert torch.equal(state["a"], torch.ones(3))
    assert len(server.seen) == 1


def test_a_damaged_file_in_the_cache_is_told(server: Server, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(cz.WeightsError, match=r"net-01234567\.pth: expected sha256 .* delete it"):
        hub.fetch(at(server))


def test_keras_files_go_where_keras_looks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = hashlib.md5(BODY).hexdigest()
    keras = at(server, source="keras", hash=f"md5:{md5}")
    assert hub.fetch(keras).parent == tmp_path / "home" / ".keras" / "models"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert hub.fetch(keras).parent == tmp_path / "keras" / "models"


# ---- the Hugging Face hub

REPOSITORY = "timm/net.a1_in1k"
FOLDER = "models--timm--net.a1_in1k"
ASKED = f"/{REPOSITORY}/resolve/main/model.safetensors"
PINNED = f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"


@pytest.fixture
def face(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that answers as huggingface.co does: facts with a redirect to its storage."""
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    server.files["/storage"] = BODY
    away = Answer(
        status=302,
        body=b"Found. Redirecting.",
        headers={
            # Another name of the same machine stands in for the storage's.
            "Location": f"{server.address.replace('127.0.0.1', 'localhost')}/storage",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{SHA256}"',
            "X-Linked-Size": str(len(BODY)),
        },
    )
    server.always[ASKED] = server.always[PINNED] = away
    return server


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "hf" / "hub" / FOLDER / "snapshots" / COMMIT / "model.safetensors"


def on_hub(**changes: Any) -> cz.Published:
    published = cz.Published(
        tag="timm/a1_in1k", source="timm", source_name="net", address=REPOSITORY
    )
    return replace(published, **changes)


def test_a_file_of_the_hub_is_downloaded_once(
    face: Server, snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.fetch(on_hub()) == snapshot
    assert snapshot.read_bytes() == BODY
    assert [(seen.method, seen.path) for seen in face.seen] == [
        ("HEAD", ASKED),
        ("GET", PINNED),
        ("GET", "/storage"),
    ]
    folder = tmp_path / "hf" / "hub" / FOLDER
    assert os.readlink(snapshot) == f"../../blobs/{SHA256}"
    assert (folder / "refs" / "main").read_text() == COMMIT
    assert sorted(os.listdir(folder)) == ["blobs", "refs", "snapshots"]
    assert os.listdir(folder / "blobs") == [SHA256]

    # huggingface_hub itself finds it, and so do we again.
    cache = str(tmp_path / "hf" / "hub")
    found = huggingface_hub.try_to_load_from_cache(REPOSITORY, "model.safetensors", cache_dir=cache)
    assert found == str(snapshot)
    [scanned] = huggingface_hub.scan_cache_dir(cache).repos
    assert scanned.repo_id == REPOSITORY
    assert hub.fetch(on_hub()) == snapshot
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.fetch(on_hub()) == snapshot
    assert len(face.seen) == 3


def prepare(cache: Path, *, link: bool = True) -> Path:
    """A cache as huggingface_hub leaves it."""
    folder = cache / FOLDER
    for name in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    path = folder / "snapshots" / COMMIT / "model.safetensors"
    if link:
        (folder / "blobs" / SHA256).write_bytes(BODY)
        path.symlink_to(f"../../blobs/{SHA256}")
    else:
        path.write_bytes(BODY)
    return path


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize(
    ("variable", "value", "below"),
    [
        ("HF_HUB_CACHE", "cache", ""),
        ("HUGGINGFACE_HUB_CACHE", "cache", ""),
        ("HF_HOME", "home of hf", "hub"),
        ("XDG_CACHE_HOME", "xdg", "huggingface/hub"),
        ("HOME", "other home", ".cache/huggingface/hub"),
    ],
)
def test_the_cache_of_huggingface_hub_is_used(
    face: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    below: str,
    link: bool,
) -> None:
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(variable, str(tmp_path / value))
    path = prepare(tmp_path / value / below, link=link)
    assert hub.fetch(on_hub()) == path
    assert not face.seen


@pytest.mark.parametrize("variable", ["CNNZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_means_offline_for_the_hub_too(
    face: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    message = fail(on_hub())
    assert str(tmp_path / "hf" / "hub" / FOLDER) in message
    assert f"{variable} forbids" in message
    assert not face.seen


def test_the_hub_of_the_hub_files_is_resumed_and_checked(face: Server, snapshot: Path) -> None:
    face.plan["/storage"] = [Answer(cut=1_100_000), Answer(body=bytes(len(BODY)))]
    message = fail(on_hub())
    assert f"expected sha256 {SHA256}, got" in message
    assert face.of("/storage")[1].range == "bytes=1100000-"
    assert not snapshot.exists()
    assert hub.fetch(on_hub()).read_bytes() == BODY


def test_a_length_other_than_the_hub_says(face: Server) -> None:
    face.plan["/storage"] = [Answer(body=BODY[:-1])]
    assert f"expected {len(BODY)} bytes, and the server has {len(BODY) - 1}" in fail(on_hub())


def test_a_damaged_blob_is_told(face: Server, tmp_path: Path) -> None:
    path = prepare(tmp_path / "hf" / "hub")
    path.resolve().write_bytes(BODY[1:])
    with pytest.raises(cz.WeightsError, match=f"expected sha256 {SHA256}.*delete it"):
        hub.fetch(on_hub())


def test_the_older_format_is_taken_where_there_is_no_other(face: Server) -> None:
    for path in (ASKED, PINNED):
        face.always[path.replace("model.safetensors", "pytorch_model.bin")] = face.always.pop(path)
    assert hub.fetch(on_hub()).name == "pytorch_model.bin"
    assert hub.fetch(on_hub()).read_bytes() == BODY
    assert len(face.seen) == 4


def test_a_renamed_repository_is_followed(face: Server) -> None:
    moved = Answer(status=307, headers={"Location": "/timm/new" + ASKED[len(REPOSITORY) + 1 :]})
    moved.body = b""
    face.always[moved.headers["Location"]] = face.always[ASKED]
    face.always[ASKED] = moved
    assert hub.fetch(on_hub()).read_bytes() == BODY
    assert [seen.method for seen in face.seen] == ["HEAD", "HEAD", "GET", "GET"]


def test_a_file_with_its_facts_and_no_redirect(face: Server, snapshot: Path) -> None:
    del face.always[PINNED]
    face.files[ASKED] = face.files[PINNED] = BODY
    face.always[ASKED] = Answer(headers={"X-Repo-Commit": COMMIT})
    assert hub.fetch(on_hub()) == snapshot
    assert os.path.basename(os.readlink(snapshot)) == hashlib.md5(BODY).hexdigest()


@pytest.mark.parametrize(
    "headers", [{}, {"X-Repo-Commit": "../../x"}, {"X-Repo-Commit": COMMIT, "ETag": '"../x"'}]
)
def test_what_is_no_hub_is_told(face: Server, tmp_path: Path, headers: dict[str, str]) -> None:
    face.always[ASKED] = Answer(body=b"<html>", headers=headers)
    assert "not that of a Hugging Face hub; see whether a proxy" in fail_at_hub()
    assert not (tmp_path / "hf").exists()


def test_a_hub_in_trouble_is_waited_for(face: Server) -> None:
    face.plan[ASKED] = [Answer(status=503, body=b"")] * 2
    assert hub.fetch(on_hub(), patience=IMPATIENT).read_bytes() == BODY


def test_a_repository_that_is_not_there(face: Server) -> None:
    face.always.clear()
    assert "answered 404 Not Found" in fail_at_hub()
    face.always[ASKED] = Answer(status=401, body=b"")
    assert "answered 401 Unauthorized; check whether" in fail_at_hub()


def fail_at_hub() -> str:
    return fail(on_hub())


def test_a_file_system_without_links_gets_copies(
    face: Server, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert hub.fetch(on_hub()) == snapshot
    assert not snapshot.is_symlink()
    assert snapshot.read_bytes() == BODY


# ---- licences


@pytest.mark.parametrize(
    "license_", ["cc-by-nc-4.0", "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"]
)
def test_a_restricted_licence_is_shown_once(
    server: Server, capfd: pytest.CaptureFixture[str], license_: str
) -> None:
    published = at(server, license=license_)
    hub.fetch(published)
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("cnnzoo: the weights torchvision/TEST of net are under the restricted")
    assert license_ in line
    hub.fetch(published)
    assert capfd.readouterr().err == ""


def test_a_restricted_licence_can_be_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNZOO_REFUSE_RESTRICTED", "1")
    message = fail(at(server, license="cc-by-nc-4.0"))
    assert "cc-by-nc-4.0 (https://creativecommons.org/" in message
    assert "CNNZOO_REFUSE_RESTRICTED forbids" in message
    assert not server.seen
    hub.fetch(at(server, license="apache-2.0"))


# ---- into models


def checkpoints(tmp_path: Path, name: str, **options: Any) -> tuple[Path, cz.Model]:
    """A small network's file."""
    model = cz.create_model(name, seed=7, **options)
    path = tmp_path / "published.pth"
    state = {key: torch.from_numpy(value) for key, value in model.state_dict().items()}
    torch.save(state, path)
    return path, model


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a row of a test into the place of the table's for ResNet-18."""
    from cnnzoo.weights import published as weights

    def put(**changes: str) -> None:
        rows = {key: [dict(row) for row in some] for key, some in weights._table().items()}
        rows["torchvision", "resnet18"][0].update(changes)
        monkeypatch.setattr(weights, "_table", lambda: rows)

    return put


def test_a_model_gets_weights_and_preprocessing(
    server: Server, tmp_path: Path, listed: Callable[..., None]
) -> None:
    file, model = checkpoints(tmp_path, "resnet18", num_classes=11)
    server.files["/r.pth"] = file.read_bytes()
    listed(address=f"{server.address}/r.pth", hash="", classes="11", crop="160", resize="180")
    ours = cz.create_model("resnet18", weights="Torchvision/imagenet1k_v1")
    assert ours.num_classes == 11
    assert ours.options == {"num_classes": 11, "image_size": 160}
    assert (ours.preprocess.crop, ours.preprocess.resize) == (160, 180)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key], value)
    # The best ones of the source are those, and what is asked for is kept.
    asked = cz.create_model("resnet18", weights="default", num_classes=1000, image_size=96)
    assert asked.options == {"num_classes": 1000, "image_size": 96}
    np.testing.assert_array_equal(
        asked.state_dict()["conv1.weight"], ours.state_dict()["conv1.weight"]
    )
    assert len(server.seen) == 1


def test_a_file_of_another_model_is_refused(
    server: Server, tmp_path: Path, listed: Callable[..., None]
) -> None:
    file, _ = checkpoints(tmp_path, "resnet34", num_classes=2)
    server.files["/r.pth"] = file.read_bytes()
    listed(address=f"{server.address}/r.pth", hash="")
    with pytest.raises(cz.WeightsError, match=r"r\.pth does not fit resnet18"):
        cz.create_model("resnet18", weights="default")


def test_weights_of_the_hub_fill_a_model(face: Server, tmp_path: Path) -> None:
    model = cz.create_model("tf_efficientnet_lite0", seed=7)
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    body = (tmp_path / "m.safetensors").read_bytes()
    etag = hashlib.sha256(body).hexdigest()
    for revision in ("main", COMMIT):
        path = f"/timm/tf_efficientnet_lite0.in1k/resolve/{revision}/model.safetensors"
        face.files[path] = body
        face.always[path] = Answer(headers={"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"'})
    ours = cz.create_model("tf_efficientnet_lite0", weights="timm/in1k")
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key], value)
    assert ours.preprocess == cz.published_weights("tf_efficientnet_lite0")[1].preprocess


# ---- answers that are none


class Redirecting(Loopback):
    """Leads to itself; or sends nothing; or sends without an end and without a length."""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if "circle" in request.path:
            request.send_response(302)
            request.send_header("Location", request.path)
            request.end_headers()
            return
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while "endless" in request.path:
                request.wfile.write(bytes(1 << 16))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("circle.pth", "the server redirects too often, last by 302; check whether"),
        ("empty.pth", "the server sent an empty file; try again later"),
        ("endless.pth", "the server sent more than 1.0 MB without announcing the size"),
    ],
)
def test_what_is_no_file_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    monkeypatch.setattr(transfer, "MOST_UNANNOUNCED", 1_000_000)
    with Redirecting() as served:
        url = f"{served.address}/{path}"
        job = _download.Job(name="x", url=url, path=tmp_path / "x.pth", setting="TORCH_HOME")
        with pytest.raises(cz.WeightsError) as caught:
            _download.download(job, _download.Patience(attempts=1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_both_routes_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://nowhere.invalid")
    for address in ("http://nowhere.invalid/net.pth", "timm/net"):
        published = cz.Published(
            tag="x/y", source="timm", source_name="net", address=address, hash="sha256:01234567"
        )
        with pytest.raises(cz.WeightsError) as caught:
            hub.fetch(published)
        assert "no network, or no such server (" in str(caught.value)
        assert "cannot be requested" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
