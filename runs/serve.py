"""The trained model over HTTP: POST a picture or a CSV to /predict; GET /health.

``pip install 'mnist-lstm[serve]'``, then ``python runs/serve.py`` and, from elsewhere,
``curl --data-binary @photo.jpg http://127.0.0.1:8000/predict``. An example to change: it
has no TLS and no users, which a proxy in front of it is for.
"""

import os

import anyio
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mnist_lstm import PictureError, SequenceError, load, predict

LARGEST = 10_000_000  # bytes of a body
model = load(os.environ.get("MODEL", "models/model.safetensors"))
torch.set_num_threads(1)  # a request a core
cores = anyio.CapacityLimiter(os.cpu_count() or 1)


async def classify(request: Request) -> JSONResponse:
    """Answer with the class, its probability, and that of each class."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            return JSONResponse({"error": f"more than {LARGEST:,} bytes"}, 413)
    try:
        found = await anyio.to_thread.run_sync(predict, model, bytes(body), limiter=cores)
    except (PictureError, SequenceError) as error:
        return JSONResponse({"error": str(error)}, 422)
    last = dict(zip(found.classes, found.probabilities[-1].tolist(), strict=True))
    return JSONResponse(
        {"class": found.class_name, "probability": found.probability, "all": last}
    )


async def health(_request: Request) -> JSONResponse:
    """Answer once the model is there."""
    return JSONResponse({"status": "ok"})


app = Starlette(
    routes=[Route("/predict", classify, methods=["POST"]), Route("/health", health)]
)
if __name__ == "__main__":
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, host=host, port=port)
