"""The same service on torchvision, for comparison: one photograph after the other, in a thread.

python torchvision_server.py mobilenet_v2 --port 8001 [--weights FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import io
from concurrent.futures import ThreadPoolExecutor

import torch
import torchvision
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from PIL import Image
from torchvision.transforms import v2


def served(network: torch.nn.Module) -> FastAPI:
    """The application that serves a network of torchvision."""
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(256, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    thread = ThreadPoolExecutor(1)
    app = FastAPI()

    def run(photo: bytes) -> list[dict[str, float]]:
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        with torch.inference_mode():
            probabilities = network(transform(image)[None]).softmax(1)[0]
        found = probabilities.topk(5)
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [{"index": index, "probability": value} for index, value in pairs]

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, object]:
        photo = await request.body()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(thread, run, photo)
        except OSError as error:
            raise HTTPException(422, str(error)) from error
        return {"predictions": answer}

    return app


def main() -> None:
    """Serve the network that the command line names, with the weights of a state dict."""
    parser = argparse.ArgumentParser(description="Serve a network of torchvision.")
    parser.add_argument("network")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--weights", help="a state dict, as torch.save writes it")
    args = parser.parse_args()
    network = torchvision.models.get_model(args.network)
    if args.weights:
        network.load_state_dict(torch.load(args.weights, weights_only=True))
    network.eval()
    uvicorn.run(served(network), port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
