"""runs/serve.py, the example of a server, under a real client."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from defaults import DIGITS, model_params
from mnist_lstm import load, predict
from mnist_lstm.models.base import Reads
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.models.store import save_model
from pictures import drawn, encoded
from sandbox import ROOT, _environment

pytestmark = pytest.mark.long
AT_ONCE = 200


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of the default size, untrained."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_model(LSTMClassifier(model_params()), path, Reads(DIGITS, "mnist", 28))
    return path


@pytest.fixture(scope="module")
def url(model):
    """The address of a server with that model, which says nothing of a fault."""
    env = _environment() | {"MODEL": str(model), "PORT": "0", "PYTHONPATH": "src"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, "runs/serve.py"], cwd=ROOT, env=env, **pipes)
    found = None
    while not found:
        line = server.stderr.readline()
        assert line
        found = re.search(r"running on (http://\S+)", line)
    yield found[1]
    server.terminate()
    assert "Traceback" not in server.communicate(timeout=30)[1]


def posted(url, bodies):
    """Post all ``bodies`` at once; return status, answer and seconds of each, in order."""

    def post(body):
        start = time.perf_counter()
        answer = requests.post(f"{url}/predict", data=body, timeout=60)
        return answer.status_code, answer.json(), time.perf_counter() - start

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, bodies))


def test_of_200_requests_at_once_none_is_lost_and_each_has_its_own_answer(url, model):
    pictures = [encoded(drawn(digit)) for digit in range(10)]
    answers = posted(url, pictures * (AT_ONCE // 10))
    found = predict(load(model), pictures)
    for place, (status, answer, _) in enumerate(answers):
        there = found[place % 10]
        assert (status, answer["class"]) == (200, there.class_name)
        assert answer["probability"] == pytest.approx(there.probability, abs=1e-5)
        assert sum(answer["all"].values()) == pytest.approx(1, abs=1e-4)
    p50, p99 = np.quantile([seconds for *_, seconds in answers], [0.5, 0.99])
    print(f"{AT_ONCE} at once: half within {p50:.2f} s, 99% within {p99:.2f} s")
    assert p99 < 20  # 1 s here, on cores that other tests share


def test_what_is_no_picture_gets_the_sentence_of_the_command_and_too_much_is_refused(url):
    broken, large = posted(url, [encoded(drawn(3))[:700], b"0" * 10_000_001])
    assert broken[0] == 422
    assert broken[1]["error"].startswith("damaged picture: ")
    assert large[:2] == (413, {"error": "more than 10,000,000 bytes"})
    health = requests.get(f"{url}/health", timeout=60)  # it serves on
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
