"""Each figure is drawn from real shapes and looked at through what it holds."""

import matplotlib
import pandas as pd
import pytest
import torch

from mnist_lstm import figures

TABLE = pd.DataFrame({"actual": [3, 5], "predicted": [3, 6], "probability": [0.9, 0.8]})
IMAGES = torch.arange(2 * 28 * 28).reshape(2, 28, 28).byte()


def titles(figure):
    return {axes.get_title(): axes.title.get_color() for axes in figure.axes}


def test_samples_tell_prediction_and_label_and_mistakes_in_red():
    drawn = titles(figures.samples(IMAGES, TABLE))
    assert drawn["Pred:3, Label:3"] == "black"
    assert drawn["Pred:6, Label:5"] == "tab:red"


def test_25_samples_make_a_grid_of_5_by_5():
    table = TABLE.loc[[0] * 25]
    figure = figures.samples(IMAGES[[0] * 25], table)
    assert figure.axes[0].get_gridspec().get_geometry() == (5, 5)


def test_mistakes_tell_how_sure_the_model_was():
    assert "Pred:6 (80.0%), Label:5" in titles(figures.mistakes(IMAGES[1:], TABLE[1:]))


def test_a_model_without_mistakes_has_a_figure_that_says_so():
    figure = figures.mistakes(IMAGES[:0], TABLE[:0])
    assert figure.get_suptitle() == "Test images: no mistakes"


def test_the_learning_curve_has_a_line_for_each_split():
    history = pd.DataFrame(
        {
            "heldout": ["valid", "valid"],
            "epoch": [0, 1],
            "train_loss": [2.3, 1.0],
            "train_accuracy": [0.1, 1.0],
            "heldout_loss": [2.3, 1.1],
            "heldout_accuracy": [0.1, 0.7],
        }
    )
    accuracy, loss = figures.learning_curve(history).axes
    assert [line.get_label() for line in accuracy.lines] == ["train", "valid"]
    assert accuracy.lines[1].get_ydata().tolist() == [0.1, 0.7]
    assert loss.lines[1].get_label() == "valid"
    top = accuracy.get_ylim()[1]
    assert 0.999 < accuracy.lines[0].get_ydata()[1] < top < 1  # 1.0, at the scale's edge
    assert loss.lines[0].get_ydata().tolist() == [2.3, 1.0]


def test_the_confusion_counts_each_pair_of_classes():
    table = pd.DataFrame({"actual": [0, 0, 1, 2], "predicted": [0, 2, 1, 2]})
    axes = figures.confusion(table).axes[0]
    assert "3 of 4 right" in axes.get_title()
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts[(2, 0)] == "1"  # predicted 2, actual 0
    assert counts[(0, 0)] == counts[(1, 1)] == "1"
    assert counts[(0, 2)] == ""


def test_the_reading_has_the_image_beside_the_probabilities_of_each_row():
    p = torch.eye(10).repeat(2, 3, 1)[:, :28]  # after row r, class r % 10
    figure = figures.reading(IMAGES, torch.tensor([7, 1]), p)
    image, heat = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert (image == IMAGES[0].numpy()).all()
    assert heat.shape == (28, 10)
    assert {"Label:7", "Label:1", "Pred:7"} <= set(titles(figure))


@pytest.mark.parametrize(
    "user", [{}, {"font.size": 30, "image.cmap": "hot", "axes.grid": True}]
)
def test_the_same_picture_is_the_same_file_whatever_the_user_set(tmp_path, user):
    with matplotlib.rc_context(user):
        figures.save_figure(figures.samples(IMAGES, TABLE), tmp_path / "mine.png")
    figures.save_figure(figures.samples(IMAGES, TABLE), tmp_path / "theirs.png")
    assert (tmp_path / "mine.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_predictions_show_the_likeliest_classes_by_their_names():
    p = torch.full((2, 28, 40), 0.001)
    p[0, :, 7], p[1, :, 39] = 0.9, 0.8
    names = [f"class {i}" for i in range(40)]
    figure = figures.predictions(IMAGES, ["a$b$.png", "a" * 40], p, names)
    first, heat, second, _ = figure.axes[:4]
    assert first.get_title() == r"a\$b\$.png"
    assert len(second.get_title()) == 16
    assert heat.get_title() == "class 7 90%"
    ticks = [tick.get_text() for tick in heat.get_xticklabels()]
    assert len(ticks) == 12
    assert {"class 7", "class 39"} <= set(ticks)
