"""The example server answers as the model does, whoever asks and whatever is sent."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import cnnzoo as cz

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "serve"
PHOTO = ROOT / "photos" / "chelsea.png"
SECONDS = 60
ONE_THREAD = ("--threads", "1")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in a file."""
    path = tmp_path_factory.mktemp("served") / "model.safetensors"
    model = cz.create_model("mobilenet_v2_035", num_classes=3, seed=1)
    model.labels = ["cat", "dog", "fox"]
    model.save(path)
    return path


@contextlib.contextmanager
def serving(file: Path | str, *options: str, program: str = "server.py") -> Iterator[str]:
    """The address of a server, which ends by itself when it is asked to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, program, str(file), "--port", str(port), *options]
    with subprocess.Popen(command, cwd=EXAMPLE) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, server)
            yield address
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(SECONDS) in {0, -signal.SIGINT}


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            assert httpx.get(f"{address}/health").json()["status"] == "ok"
            return
        time.sleep(0.1)
    pytest.fail(f"the server did not answer; its exit status is {server.poll()}")


@pytest.fixture(scope="module")
def address(file: Path) -> Iterator[str]:
    """The address of a server that all tests ask."""
    options = ("--seconds-of-upload", "0.5", "--seconds-of-waiting", "60")
    with serving(file, *ONE_THREAD, *options) as found:
        yield found


def ask(address: str, body: bytes, **parameters: int) -> httpx.Response:
    return httpx.post(f"{address}/predict", content=body, params=parameters, timeout=SECONDS)


def test_it_answers_as_the_model_does(address: str, file: Path) -> None:
    said = ask(address, PHOTO.read_bytes(), top=2).json()
    wanted = cz.load(file).predict(PHOTO, top=2)
    assert said["model"] == "mobilenet_v2_035"
    assert [guess["label"] for guess in said["predictions"]] == [guess.label for guess in wanted]
    found = [guess["probability"] for guess in said["predictions"]]
    assert np.allclose(found, [guess.probability for guess in wanted], rtol=0, atol=1e-6)


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(b"", 422, "got nothing", id="empty"),
        pytest.param(b"GET / HTTP/1.1", 422, "got something else", id="text"),
        pytest.param(PHOTO.read_bytes()[:100_000], 422, "not a readable photograph", id="cut off"),
        pytest.param(bytes(10_000_001), 413, "10,000,000 bytes", id="too long"),
        pytest.param(png(10_000, 10_000), 413, "10000 × 10000 pixels", id="too many pixels"),
        pytest.param(png(20_000, 20_000), 413, "20000 × 20000 pixels", id="a bomb to Pillow"),
    ],
)
def test_bad_uploads_are_refused(address: str, body: bytes, status: int, message: str) -> None:
    answer = ask(address, body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert ask(address, PHOTO.read_bytes()).status_code == httpx.codes.OK


def test_a_form_is_refused_with_the_way_to_send(address: str) -> None:
    answer = httpx.post(f"{address}/predict", files={"file": PHOTO.read_bytes()}, timeout=SECONDS)
    assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE
    assert "--data-binary @photo.jpg" in answer.json()["detail"]


def wrong(program: str, *arguments: str) -> str:
    """The last line of a program that ends with an error."""
    command = [sys.executable, program, *arguments]
    done = subprocess.run(
        command, cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_mistakes_in_the_command_line_are_one_line(file: Path) -> None:
    assert "the closest are resnet50" in wrong("server.py", "resnett50")
    assert "No such file" in wrong("server.py", "none.safetensors")
    assert "invalid number above 0 value: '0'" in wrong("server.py", str(file), "--batch", "0")
    assert "nothing.jpg" in wrong("load.py", "http://127.0.0.1:1", "--photo", "nothing.jpg")
    assert "attempts failed" in wrong("load.py", "http://127.0.0.1:1", "--photo", str(PHOTO))


def test_an_upload_that_stalls_is_given_up(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    head = "POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
        client.sendall(head.encode() + b"begins")
        assert b" 408 " in client.recv(1000).partition(b"\r\n")[0]


async def ask_at_once(address: str, bodies: list[bytes]) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        asked = (client.post(f"{address}/predict", content=body) for body in bodies)
        return await asyncio.gather(*asked)


def test_each_of_32_clients_gets_the_answer_to_its_own_photograph(address: str, file: Path) -> None:
    """A broken photograph in a batch spoils no other."""
    rng = np.random.default_rng(0)
    bodies = []
    for colour in rng.integers(0, 256, (32, 3)):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40), tuple(map(int, colour))).save(buffer, "png")
        bodies.append(buffer.getvalue())
    bodies[5] = bodies[5][:60]
    model = cz.load(file)
    for place, answer in enumerate(asyncio.run(ask_at_once(address, bodies))):
        if place == 5:
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
            continue
        (wanted, *_) = model.predict(bodies[place])
        (found, *_) = answer.json()["predictions"]
        assert found["label"] == wanted.label
        assert found["probability"] == pytest.approx(wanted.probability, abs=1e-6)


def test_who_comes_when_too_many_wait_is_told_to_come_again(file: Path) -> None:
    options = (*ONE_THREAD, "--waiting", "2", "--batch", "1", "--seconds-of-waiting", "60")
    with serving(file, *options) as address:
        answers = asyncio.run(ask_at_once(address, [PHOTO.read_bytes()] * 32))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() == {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}
    refused = [answer for answer in answers if answer.status_code != httpx.codes.OK]
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}


def test_who_waits_too_long_is_told_so(file: Path) -> None:
    options = (*ONE_THREAD, "--batch", "1", "--seconds-of-waiting", "0.001")
    with serving(file, *options) as address:
        answer = ask(address, PHOTO.read_bytes())
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert "no answer within 0.001 s" in answer.json()["detail"]


def test_the_lines_of_the_guide(file: Path, tmp_path: Path) -> None:
    """Those of docs/how-to/serving.md, with a load on our server and on torchvision's."""
    page = (ROOT / "docs" / "how-to" / "serving.md").read_text(encoding="utf-8")
    _, serve, curl, load = re.findall(r"(?m)^\$ (.+)", page)
    python, program, _, *rest = serve.split()
    assert (python, program, rest) == ("python", "examples/serve/server.py", ["--port", "8000"])
    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    theirs = serving("mobilenet_v2", program="torchvision_server.py")
    with serving(file, *ONE_THREAD) as address, theirs as other:
        asked = re.fullmatch(r"curl --data-binary @photo\.jpg 'http://127\.0\.0\.1:8000(.+)'", curl)
        assert asked is not None
        answer = httpx.post(f"{address}{asked[1]}", content=PHOTO.read_bytes(), timeout=SECONDS)
        assert set(answer.json()) == {"model", "predictions"}
        assert len(answer.json()["predictions"]) == 3
        line = load.replace("http://127.0.0.1:8000", address).replace(
            "http://127.0.0.1:8001", other
        )
        _, program, *arguments = line.split()
        command = [sys.executable, str(ROOT / program), *arguments, "--rounds", "1"]
        done = subprocess.run(
            [*command, "--seconds", "2"],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=SECONDS,
        )  # fmt: skip
    for line, server in zip(done.stdout.splitlines(), (address, other), strict=True):
        found = re.fullmatch(
            rf"{server}  32 clients: (\d+) photographs a second, "
            r"latency \d+ ms \(median\), \d+ ms \(99 %\)", line,
        )  # fmt: skip
        assert found is not None, line
        assert int(found[1]) > 0
