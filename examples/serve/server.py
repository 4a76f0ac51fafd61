"""A server that classifies photographs.

    python server.py run/best.safetensors --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/predict

It needs cnnzoo or cnnzoo-lite, fastapi, uvicorn and pillow. Uploads are limited in bytes, pixels
and time, and in how many wait; each refusal has a status of its own and a message.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields

import uvicorn
from batches import Batches, BusyError
from fastapi import FastAPI, HTTPException, Query, Request
from PIL import Image

import cnnzoo as cz

# The classes of an answer, at most.
TOP = 10

# Pixels are limited below, with a message of its own.
Image.MAX_IMAGE_PIXELS = None

Answers = Batches[bytes, "cz.Prediction | cz.FailedPrediction"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that the server takes; each is an option of the command line."""

    megabytes: float = 10.0
    megapixels: float = 50.0
    seconds_of_upload: float = 10.0
    seconds_of_waiting: float = 10.0
    batch: int = 4
    waiting: int = 64


def served(model: cz.Model, limits: Limits) -> FastAPI:
    """The application that serves a model."""

    def run(photos: Sequence[bytes]) -> list[cz.Prediction | cz.FailedPrediction]:
        return model.predict(photos, top=TOP, on_error="keep", progress=False)

    batches = Batches(run, most=limits.batch, waiting=limits.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # The first run packs weights; no client should wait for that.
        model.predict(Image.new("RGB", (256, 256)))
        async with batches:
            yield

    app = FastAPI(title=f"cnnzoo: {model.name}", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok", "model": model.name}

    @app.post("/predict")
    async def predict(request: Request, top: int = Query(5, ge=1, le=TOP)) -> dict[str, object]:
        """The most probable classes of the photograph that is the body of the request."""
        photo = await received(request, limits)
        check_pixels(photo, limits)
        prediction = await answered(batches, photo, limits)
        if isinstance(prediction, cz.FailedPrediction):
            raise HTTPException(422, f"not a readable photograph: {prediction.error}")
        guesses = [guess._asdict() for guess in prediction[:top]]
        return {"model": model.name, "predictions": guesses}

    return app


async def received(request: Request, limits: Limits) -> bytes:
    """The body of a request, which is refused as soon as it is too long or too slow."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        form = "expected a photograph as the body of the request, got a form"
        raise HTTPException(415, f"{form}; curl sends the bytes with --data-binary @photo.jpg")
    most = int(limits.megabytes * 1e6)
    body = bytearray()

    async def read() -> None:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > most:
                raise HTTPException(413, f"expected at most {most:,} bytes, got more")

    try:
        await asyncio.wait_for(read(), limits.seconds_of_upload)
    except asyncio.TimeoutError:
        seconds = f"{limits.seconds_of_upload:g} s"
        raise HTTPException(408, f"the upload took longer than {seconds}") from None
    if not body:
        raise HTTPException(422, "expected a photograph as the body of the request, got nothing")
    return bytes(body)


def check_pixels(photo: bytes, limits: Limits) -> None:
    """Refuse a photograph with too many pixels, before it is decoded."""
    try:
        with Image.open(io.BytesIO(photo)) as image:
            width, height = image.size
    except Exception as error:
        message = "expected a photograph as the body of the request, got something else"
        raise HTTPException(422, message) from error
    if width * height > limits.megapixels * 1e6:
        most = f"{limits.megapixels:g} megapixels"
        raise HTTPException(413, f"expected at most {most}, got {width} × {height} pixels")


async def answered(
    batches: Answers, photo: bytes, limits: Limits
) -> cz.Prediction | cz.FailedPrediction:
    """The prediction for a photograph, once its batch has run."""
    try:
        return await asyncio.wait_for(batches.answer(photo), limits.seconds_of_waiting)
    except BusyError:
        message = f"{limits.waiting} photographs wait already; try again"
        raise HTTPException(503, message, headers={"Retry-After": "1"}) from None
    except asyncio.TimeoutError:
        seconds = f"{limits.seconds_of_waiting:g} s"
        raise HTTPException(503, f"no answer within {seconds}; try again") from None
    except cz.CnnzooError as error:
        raise HTTPException(500, str(error)) from error


def main() -> None:
    """Serve the model that the command line names."""
    parser = argparse.ArgumentParser(description="Serve a model.")
    parser.add_argument("model", help="a model file, or a name with published weights")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--threads", type=above_zero(int), help="threads of inference; all cores by default"
    )
    for field in fields(Limits):
        name = "--" + field.name.replace("_", "-")
        kind = type(getattr(Limits, field.name))
        parser.add_argument(name, type=above_zero(kind), default=field.default)
    args = parser.parse_args()
    limits = Limits(**{field.name: getattr(args, field.name) for field in fields(Limits)})
    try:
        if args.threads:
            cz.set_num_threads(args.threads)
        is_file = args.model.endswith(".safetensors")
        model = cz.load(args.model) if is_file else cz.create_model(args.model, weights="default")
    except cz.CnnzooError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    # Says where it listens, and nothing of each request.
    uvicorn.run(served(model, limits), host=args.host, port=args.port, access_log=False)


def above_zero(kind: type[float]) -> Callable[[str], float]:
    """A type of arguments: numbers of a kind that are above 0, and finite."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise ValueError(text)
        return value

    number.__name__ = "number above 0"  # as argparse names it in its error
    return number


if __name__ == "__main__":
    main()
