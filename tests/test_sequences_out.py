"""What comes out for sequences: figures, ONNX, the card and the page."""

import json
import re
from base64 import b64decode

import onnxruntime
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from matplotlib.image import imread

from defaults import DIGITS, TINY, model_params
from mnist_lstm import figures
from mnist_lstm.data.splits import Split, load_split, save_split
from mnist_lstm.export import page
from mnist_lstm.export.onnx_file import to_onnx
from mnist_lstm.models.base import Reads, make_model
from mnist_lstm.models.gates import Gates
from mnist_lstm.plumbing.params import load_params
from mnist_lstm.predict import load
from sandbox import create
from webpage import data_of, exported, wait

NAN = float("nan")
SCALING = {"mean": [5.0, -70.0, 0.0], "deviation": [0.1, 20.0, 3.0], "missing": "refuse"}


def make_split(n, length, q, classes, shortest=None, seed=0, **scaling):
    """Return ``n`` sequences of up to ``length`` steps of ``q`` values, standardised.

    Noisy waves; their speed, from 40% of a sequence on, is that of the class, so the belief
    changes while it is read.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(classes)
    lengths = torch.randint(shortest or length, length + 1, (n,), generator=generator)
    lengths[:2] = torch.tensor([length, shortest or length])
    t = torch.arange(length)[None, :, None] / lengths[:, None, None]
    speed = 4 + 10 * (t > 0.4) * labels[:, None, None] / len(classes)
    x = 1.3 * (speed * t + torch.rand(n, 1, q, generator=generator) * 2).sin()
    x += 0.3 * torch.randn(n, length, q, generator=generator)
    x[torch.arange(length) >= lengths[:, None]] = 0
    known = {"mean": [10.0] * q, "deviation": [0.5] * q, "missing": "refuse"} | scaling
    lengths = lengths if shortest else None
    return Split(x, labels, tuple(classes), "", lengths=lengths, scaling=known)


def make(name="lstm", **scaling):
    torch.manual_seed(0)
    sizes = {"xdim": 3, "ydim": 4, "hdim": 16, "n_head": 2}
    model = make_model(model_params(name=name, **sizes)).eval()
    with torch.no_grad():  # as sure as a trained model, or a difference would not show
        model.lin.weight.mul_(30)
    model.reads = Reads(("a", "é", "c", "d"), "", 20, scaling=SCALING | scaling)
    return model


def run(graph, x, lengths):
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    given = {"x": x.numpy(), "lengths": torch.tensor(lengths).numpy()}
    return torch.from_numpy(session.run(["logits"], given)[0])


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_onnx_takes_raw_values_with_any_padding_and_lengths(name):
    model = make(name)
    graph = to_onnx(model)
    mean, deviation = (torch.tensor(SCALING[key]) for key in ("mean", "deviation"))
    for lengths in ([1], [20, 1, 19, 7, 50]):
        x = torch.randn(len(lengths), max(lengths), 3)
        raw = x * deviation + mean
        for i, steps in enumerate(lengths):
            raw[i, steps:] = (NAN, 0.0, float("inf"))[i % 3]
        with torch.inference_mode():
            alone = [model(x[i : i + 1, :n])[0] for i, n in enumerate(lengths)]
        expected, found = torch.stack(alone), run(graph, raw, lengths)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.5
    raw[1, 0, 0] = NAN  # a missing value, which this model has not learnt to take
    assert run(graph, raw, lengths).isnan().any(1).tolist() == [False, True, *3 * [False]]


def test_onnx_takes_a_missing_value_for_the_mean_where_training_did_and_says_so():
    graph = to_onnx(make(missing="mean"))
    raw = torch.randn(1, 6, 3)
    raw[0, 0, 1] = SCALING["mean"][1]
    whole = run(graph, raw, [6])
    raw[0, 0, 1] = NAN
    assert torch.equal(run(graph, raw, [6]), whole)
    x, lengths = graph.graph.input
    assert (x.name, lengths.name) == ("x", "lengths")
    assert "NaN where one is missing" in x.doc_string
    props = {props.key: props.value for props in graph.metadata_props}
    assert json.loads(props.pop("classes")) == ["a", "é", "c", "d"]
    assert props == {"length": "20", "width": "3"}


def table_of(split):
    names = split.names(split.labels)
    return pd.DataFrame({"actual": names, "predicted": names, "probability": 0.5})


@pytest.mark.parametrize("shape", [(7, 12), (361, 1), (1000, 100)])
def test_each_figure_draws_sequences_in_their_words_within_a_screen(shape, tmp_path):
    length, q = shape
    split = make_split(10, length, q, DIGITS, shortest=7)
    p = torch.rand(10, length, 10).softmax(2)
    gates = Gates(*torch.rand(6, 1, length, 16))
    for figure in (
        figures.samples(split, table_of(split)),
        figures.mistakes(split.take(torch.arange(0)), table_of(split)[:0]),
        figures.reading(split, p),
        figures.predictions(split, ["a long name of a file.csv"] * 10, p),
        figures.gates(split.take(torch.tensor([1])), gates),
    ):
        text = figure.get_suptitle()
        assert not re.search(r"image|\brow", text)
        assert re.search(r"sequence|step", text)
        figures.save_figure(figure, tmp_path / "x.png")
        assert max(imread(tmp_path / "x.png").shape) <= 1300


def test_lines_and_heat_maps_end_with_the_last_real_step():
    p = torch.eye(10)[torch.arange(29) % 10].repeat(3, 1, 1)  # after step t, class t % 10
    for q in (3, 12):
        split = make_split(3, 29, q, DIGITS, shortest=8)
        left, right = figures.reading(split, p).axes[2:4]  # of the one of 8 steps
        assert right.get_title() == "Pred:7"
        assert right.images[0].get_array().shape == (8, 10)
        assert left.get_title() == "Label:1"
        if q == 3:
            lines = [torch.tensor(line.get_xdata()) for line in left.lines]
            shown = torch.stack(lines, dim=1) - torch.arange(3)  # each in a lane of its own
            shown = shown * (split.x[1, 0, 0] / shown[0, 0])
        else:
            shown = torch.tensor(left.images[0].get_array())
            low, high = left.images[0].get_clim()
            assert low == -high < -1
        torch.testing.assert_close(shown.float(), split.x[1, :8])
        assert [tick.get_text() for tick in left.get_yticklabels()] == ["1", "8"]


def test_of_very_many_steps_a_heat_map_shows_means():
    split = make_split(2, 1500, 12, "a").take(torch.arange(1))
    axes = figures.gates(split, Gates(*torch.rand(6, 1, 1500, 4))).axes[0]
    means = split.x[0].view(150, 10, 12).mean(1)
    torch.testing.assert_close(torch.tensor(axes.images[0].get_array()), means)


def test_the_lines_have_the_names_of_the_values():
    split = make_split(2, 9, 2, "ab", features=["speed $", "お"])
    (key,) = figures.samples(split, table_of(split)).legends
    assert [text.get_text() for text in key.get_texts()] == [r"speed \$", "?"]


def test_a_page_has_at_most_200_steps_of_a_sequence_and_fewer_of_many_classes():
    assert page.some_steps(29, 9).tolist() == list(range(29))
    for n_class, most in ((9, 200), (300, 66), (1000, 30)):
        some = page.some_steps(1000, n_class)
        assert (some[0], some[-1], len(some)) == (0, 999, most)
        assert (some.diff() > 0).all()
    greys = page.to_greys(torch.tensor([[-9.0, -1.0, 0.0, 1.0, 9.0]]))
    assert greys.tolist() == [[1, 86, 128, 170, 255]]


@pytest.fixture(scope="module")
def project(once):
    """The project after all stages but `prepare`, on sequences with names that are odd."""

    def make(path):
        train = TINY["train"] | {"epochs": 3, "batch_size": 16}
        sizes = TINY["model"] | {"xdim": 8, "ydim": 3}
        params = TINY | {"data": {"name": "own"}, "model": sizes, "train": train}
        sandbox = create(path, params)
        (path / "data/prepared").mkdir(parents=True)
        for seed, name in enumerate(("train", "test")):
            classes = "a|b", "<i>", "é"
            split = make_split(90, 19, 8, classes, 7, seed, missing="mean")
            save_split(split, path / f"data/prepared/{name}.safetensors")
        for stage in ("train", "evaluate", "plot", "export"):
            sandbox.run("python", f"stages/{stage}.py", PYTHONPATH="src")

    return once("sequences", make)


@pytest.fixture(scope="module")
def test_split(project):
    params = load_params(project.path / "params.yaml").model
    return load_split(project.path / "data/prepared/test.safetensors", params)


@pytest.mark.long
def test_the_card_speaks_of_sequences_and_its_code_reads_raw_ones(
    project, test_split, monkeypatch
):
    card = project.text("models/README.md")
    data = ModelCard(card).data
    assert (data.pipeline_tag, "time-series-classification" in data.tags) == ("other", True)
    assert "reads sequences of 7 to 19 steps of 8 values" in card
    assert "a missing one is taken for the mean" in card
    assert not re.search(r"image|picture|pixel|\brow", card)
    monkeypatch.chdir(project.path / "models")
    mean, deviation = (
        torch.tensor(test_split.scaling[key]) for key in ("mean", "deviation")
    )
    raw = test_split.x * deviation + mean
    raw[:, :3, 5] = NAN  # missing
    x = test_split.x.clone()
    x[:, :3, 5] = 0
    with torch.inference_mode():
        expected = load("model.safetensors")(x, test_split.lengths)
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        exec(code, {})  # as it stands there
        code = re.sub(r"(torch|np).zeros\(.*\)", r"\1.asarray(raw)", code)
        code = re.sub(r"(torch|np).full\(.*\)", r"\1.asarray(lengths)", code)
        names = {"raw": raw, "lengths": test_split.lengths}
        exec(code, names)
        logits = torch.as_tensor(names["logits"])
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    for name in ("samples", "mistakes", "reading", "gates", "confusion", "learning_curve"):
        assert (project.path / f"plots/{name}.png").stat().st_size > 20_000


@pytest.mark.long
def test_the_page_plays_how_test_sequences_were_read(project, test_split, show):
    tab = show(exported(project), viewport={"width": 360, "height": 800})
    model = load(project.path / "models/model.safetensors")
    data = data_of(exported(project))
    shown = data["examples"] + data["mistakes"]
    assert tab.locator(".thumbs button").count() == len(shown) > 2
    for hidden in ("#paper", "#undo", "#gallery-title"):
        assert tab.locator(hidden).is_hidden()
    assert not re.search(r"[Ii]mage|[Dd]raw|\b[Rr]ow", tab.inner_text("body"))
    assert tab.get_attribute("#row", "aria-label") == "Steps read"
    sequences = zip(test_split.x, test_split.steps(), strict=True)
    greys = [bytes(page.to_greys(x[:n]).flatten().tolist()) for x, n in sequences]
    for i, example in enumerate(shown):
        tab.locator(".thumbs button").nth(i).click()
        steps = example["at"][-1]
        assert f"{steps} steps of 8 values" in tab.inner_text("figure")
        assert tab.text_content("#glyph") == test_split.classes[example["predicted"]]
        tab.click("#back")
        assert tab.inner_text("#after") == f"after step {steps - 1} of {steps}"
        found = torch.tensor(tab.evaluate("app.reading.beliefs"))
        place = greys.index(b64decode(example["pixels"]))
        with torch.inference_mode():
            p = model.read(test_split.x[[place], :steps])[0].softmax(1)
        torch.testing.assert_close(found, p, rtol=0, atol=1e-4)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    red, blue = tab.evaluate("""() => {
        const { data } = document.getElementById('seen').getContext('2d')
            .getImageData(0, 0, 8, app.reading.height);
        return [0, 2].map((c) => [...data].filter((v, i) => i % 4 === c));
    }""")
    values = torch.tensor(list(greys[place])) - 128
    clear = values.abs() > 30
    assert ((torch.tensor(red) > torch.tensor(blue)) == (values > 0))[clear].all()
    tab.click("#play")
    wait(tab, "app.reading.row === app.reading.height && app.reading.timer === 0")
