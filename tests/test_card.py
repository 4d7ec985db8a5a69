"""The model card: read by Hugging Face's own parser, its code run as it stands there."""

import itertools
import json
import re

import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from scipy.stats import binomtest

from defaults import DEFAULT
from mnist_lstm.data.splits import Split, load_split
from mnist_lstm.export.card import model_card
from mnist_lstm.models.base import Reads, make_model
from mnist_lstm.plumbing.params import check_params, load_params

PREDICTIONS = pd.DataFrame(
    {
        "actual": ["a", "a", "a", "b|c", "b|c"],
        "predicted": ["a", "a", "b|c", "a", "b|c"],
        "probability": [0.99, 0.6, 0.95, 0.5, 0.9],
    }
)
METRICS = {
    "train": {"accuracy": 0.75, "loss": 0.5},
    "valid": {"accuracy": 0.8, "loss": 0.4},
    "test": {"accuracy": 0.6, "loss": 0.7},
}


def card_of(data="mnist", predictions=PREDICTIONS, classes=("a", "b|c"), without=""):
    """Return a card of images, but for the split ``without``."""
    sizes = DEFAULT["model"] | {"hdim": 8, "ydim": len(classes)}
    params = check_params(DEFAULT | {"data": {"name": data}, "model": sizes}, "")
    model = make_model(params.model)
    model.reads = Reads(classes, "scale", 28)
    images = Split(torch.zeros(5, 28, 28).byte(), torch.zeros(5).long(), classes, "scale")
    metrics = {name: found for name, found in METRICS.items() if name != without}
    settings = data, params.train, params.augment
    splits = dict.fromkeys(metrics, images)
    return model_card(*settings, model, splits, metrics, predictions)


@pytest.fixture(scope="module")
def written(built):
    return built.text("models/README.md")


def test_hugging_face_reads_the_figures_and_parameters_of_this_run(built, written):
    data = ModelCard(written).data
    (result, loss) = data.eval_results
    metrics = json.loads(built.text("metrics/evaluate.json"))
    assert (result.dataset_split, result.metric_type) == ("test", "accuracy")
    assert result.metric_value == metrics["test"]["accuracy"]
    assert loss.metric_value == metrics["test"]["loss"]
    assert data.pipeline_tag == result.task_type == "image-classification"
    for name, count in (("train", "1,437"), ("test", "360")):
        found = metrics[name]
        figures = f"{found['accuracy']:.2%} | {found['loss']:.4f}"
        assert f"| {name} | {count} | {figures} |" in written
    params = yaml.safe_load(built.text("params.yaml"))
    (shown,) = re.findall(r"```yaml\n(.*?)```", written, re.DOTALL)
    del params["train"]["device"]  # a matter of the machine
    assert yaml.safe_load(shown) == {k: params[k] for k in ("model", "train", "augment")}
    table = built.table("data/predictions.csv")
    wrong = table[table.actual != table.predicted]
    assert f"{len(wrong)} of 360 images are wrong" in written
    parameters = json.loads(built.text("metrics/model.json"))["parameters"]
    assert f"{parameters:,} parameters" in written


def test_the_code_in_the_card_runs_and_classifies_as_the_pipeline_does(
    built, written, monkeypatch, capsys
):
    params = load_params(built.path / "params.yaml").model
    test = load_split(built.path / "data/prepared/test.safetensors", params)
    expected = built.table("data/predictions.csv").predicted.tolist()
    codes = re.findall(r"```python\n(.*?)```", written, re.DOTALL)
    monkeypatch.chdir(built.path / "models")
    for code in codes:  # as it stands there
        exec(code, {})
        assert capsys.readouterr().out
    names = {"given": test.x}
    exec(re.sub(r"torch.zeros\(.*\)", "given", codes[0]), names)
    # The card computes in fp32, the pipeline in bf16 where a CPU has it: close calls part.
    best = names["logits"].topk(2).values
    sure = (best[:, 0] - best[:, 1] > 0.1).tolist()
    assert sum(sure) > 300
    agree = names["logits"].argmax(1) == torch.tensor(expected)
    assert all(itertools.compress(agree.tolist(), sure))
    names = {"given": test.x.numpy()}
    exec(re.sub(r"np.zeros\(.*\)", "given", codes[1]), names)
    assert names["shape"] == (1, *test.x.shape[1:])
    classes = [names["classes"][i] for i in names["logits"].argmax(1)]
    same = [name == str(label) for name, label in zip(classes, expected, strict=True)]
    assert all(itertools.compress(same, sure))


@pytest.mark.parametrize(
    ("data", "title", "license", "hub"),
    [
        ("fashion_mnist", "Fashion-MNIST", "mit", ["zalando-datasets/fashion_mnist"]),
        ("own", "own images", "unknown", None),
    ],
)
def test_each_data_set_has_its_name_and_license(data, title, license, hub):
    card = ModelCard(card_of(data))
    assert f"\n# {title}, read row by row" in card.content
    assert (card.data.license, card.data.datasets) == (license, hub)
    assert {result.dataset_name for result in card.data.eval_results} == {title}
    told = "A picture becomes such an image by `prepare.picture: scale`."
    assert (told in card.content) == (data == "own")


def test_with_a_validation_split_both_are_reported_by_name():
    found = {
        (result.dataset_split, result.metric_type): result.metric_value
        for result in ModelCard(card_of()).data.eval_results
    }
    assert found[("validation", "accuracy")] == 0.8
    assert found[("test", "accuracy")] == 0.6
    splits = re.findall(r"^\| (train|valid|test) \|", card_of(), re.MULTILINE)
    assert splits == ["train", "valid", "test"]
    assert "did not read the test split" in card_of()
    assert "no validation split" in card_of(without="valid")


def test_what_was_hard_is_told_in_names_that_markdown_leaves_alone():
    card = card_of()
    assert "2 of 5 images are wrong" in card
    assert "split: b\\|c (50.0%), a (66.7%)." in card
    assert "often for what: a for b\\|c (1), b\\|c for a (1)." in card
    assert (
        "of the 3 test images to whose class it\n  gives 90% or more, 1 are wrong" in card
    )
    low, high = binomtest(3, 5).proportion_ci(0.95, method="wilson")
    assert f"between {low:.2%} and {high:.2%} (95%" in card


def test_a_card_has_room_for_a_thousand_classes_and_for_no_mistake():
    right = PREDICTIONS.assign(predicted=PREDICTIONS.actual)
    card = card_of(predictions=right, classes=tuple(f"class {i}" for i in range(1000)))
    assert "0 of 5 images are wrong" in card
    assert "class 28, class 29 and 970 more." in card
    assert "most often" not in card
