"""Each figure is drawn from real shapes and looked at through what it holds."""

import matplotlib
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from defaults import DIGITS
from mnist_lstm import figures
from mnist_lstm.data.splits import Split
from mnist_lstm.drawing import drawable
from mnist_lstm.models.gates import Gates

TABLE = pd.DataFrame({"actual": [3, 5], "predicted": [3, 6], "probability": [0.9, 0.8]})
IMAGES = torch.arange(2 * 28 * 28).reshape(2, 28, 28).byte()
SPLIT = Split(IMAGES, torch.tensor([7, 1]), DIGITS)


def titles(figure):
    return {axes.get_title(): axes.title.get_color() for axes in figure.axes}


def test_images_tell_prediction_and_label_and_mistakes_in_red_how_sure():
    drawn = titles(figures.samples(SPLIT, TABLE))
    assert drawn["Pred:3, Label:3"] == "black"
    assert drawn["Pred:6, Label:5"] == "tab:red"
    assert "Pred:6 (80.0%), Label:5" in titles(
        figures.mistakes(SPLIT.take(torch.tensor([1])), TABLE[1:])
    )


def test_the_learning_curve_has_a_line_for_each_split():
    history = {"heldout": "valid", "epoch": [0, 1]}
    history |= {"train_loss": [2.3, 1.0], "train_accuracy": [0.1, 1.0]}
    history |= {"heldout_loss": [2.3, 1.1], "heldout_accuracy": [0.1, 0.7]}
    accuracy, loss = figures.learning_curve(pd.DataFrame(history)).axes
    assert [line.get_label() for line in accuracy.lines] == ["train", "valid"]
    assert accuracy.lines[1].get_ydata().tolist() == [0.1, 0.7]
    assert loss.lines[1].get_label() == "valid"
    top = accuracy.get_ylim()[1]
    assert 0.999 < accuracy.lines[0].get_ydata()[1] < top < 1  # 1.0, at the scale's edge
    assert loss.lines[0].get_ydata().tolist() == [2.3, 1.0]


def test_the_reading_has_the_image_beside_the_probabilities_of_each_row():
    p = torch.eye(10).repeat(2, 3, 1)[:, :28]  # after row r, class r % 10
    figure = figures.reading(SPLIT, p)
    image, heat = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert (image == IMAGES[0].numpy()).all()
    assert heat.shape == (28, 10)
    assert {"Label:7", "Label:1", "Pred:7"} <= set(titles(figure))
    assert "does the LSTM make" in figure.get_suptitle()
    other = figures.reading(SPLIT, p, "the model")
    assert "LSTM" not in other.get_suptitle()


def test_the_gates_are_heat_maps_of_units_in_the_order_of_their_last_cell():
    generator = torch.Generator().manual_seed(0)
    layer = Gates(*torch.randn(6, 1, 28, 64, generator=generator))
    one = Split(IMAGES[1:], torch.tensor([0]), ("sept",))
    figure = figures.gates(one, layer)
    shown = {axes.get_title().partition("\n")[0]: axes for axes in figure.axes}
    names = ["input gate", "forget gate", "output gate", "candidate", "cell state"]
    assert list(shown)[:6] == ["Label:sept", *names]
    assert (shown["Label:sept"].images[0].get_array() == IMAGES[1].numpy()).all()
    order = layer.cell[0, -1].argsort()
    for name in names:
        values = torch.tensor(shown[name].images[0].get_array())
        mine = getattr(layer, name.partition(" ")[0])[0]
        assert values.shape == (28, 32)
        assert torch.equal(values[:, 0], mine[:, order[0]])
        assert torch.equal(values[:, -1], mine[:, order[-1]])
    assert "32 of 64" in figure.get_suptitle()


MANY = [f"n{i:08d} of a thousand" for i in range(1000)]


def test_a_class_has_a_name_that_the_figures_can_draw(tmp_path):
    assert drawable(["T-shirt/top", "é", "お", "cost $"]) == [
        *("T-shirt/top", "é", "#2", r"cost \$")
    ]
    short = drawable(MANY)
    assert max(map(len, short)) <= 14
    assert len(set(short)) == 1000
    assert drawable(["a" * 99, "a" * 98, "b" * 99])[:2] == ["#0", "#1"]
    (formula,) = drawable([r"$\frac{$"])
    figure = figures.samples(SPLIT, TABLE.assign(actual=formula))
    figures.save_figure(figure, tmp_path / "x.png")  # it would be refused here


@pytest.mark.parametrize(("n_class", "n_shown"), [(2, 2), (1000, 30)])
def test_the_confusion_shows_as_many_classes_as_it_has_room_for(n_class, n_shown, tmp_path):
    classes = drawable(MANY[:n_class])
    table = pd.DataFrame({"actual": classes * 3, "predicted": classes * 3})
    table.loc[0, "predicted"] = classes[-1]  # taken for the last one
    figure = figures.confusion(table, classes)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert (len(names), names[0], names[-1]) == (n_shown, classes[0], classes[-1])
    assert f"{3 * n_class - 1:,} of {3 * n_class:,} right" in figure.axes[0].get_title()
    counts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert counts[(n_shown - 1, 0)] == "1"  # predicted the last, actual 0
    assert (counts[(0, 0)], counts[(0, 1)]) == ("2", "")
    figures.save_figure(figure, tmp_path / "x.png")
    assert max(imread(tmp_path / "x.png").shape) <= 1600


def test_the_same_picture_is_the_same_file_whatever_the_user_set(tmp_path):
    with matplotlib.rc_context({"font.size": 30, "image.cmap": "hot", "axes.grid": True}):
        figures.save_figure(figures.samples(SPLIT, TABLE), tmp_path / "mine.png")
    figures.save_figure(figures.samples(SPLIT, TABLE), tmp_path / "theirs.png")
    assert (tmp_path / "mine.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()
