"""``make seeds``: whether a change matters more than chance does."""

import pandas as pd
import pytest

import seeds


def test_the_difference_of_two_means_is_judged_by_welchs_test():
    old = pd.Series([0.980, 0.985, 0.984, 0.983])
    above = seeds.difference(old, old + 0.01)
    assert above.startswith("+1.00 points, 95% interval +0.63 to +1.37 by Welch's t-test: ")
    assert above.endswith(": beyond noise")
    assert seeds.difference(old, old + 0.001).endswith(": within noise")
    assert seeds.difference(old, old).startswith(
        "+0.00 points, 95% interval -0.37 to +0.37"
    )
    assert seeds.difference(old, old[:1]).endswith("; one seed each says nothing of chance")


def test_the_seeds_that_would_see_half_of_it_are_those_of_the_tables():
    """17 a side see one standard deviation with a power of 80%, 64 see half of one."""
    old = pd.Series([-1.0, 0.0, 1.0])  # standard deviation 1
    assert seeds.half(old, old + 2).endswith("takes 17 seeds each.")
    assert seeds.half(old, old + 1).endswith("takes 64 seeds each.")
    assert seeds.half(old, old) == ""
    assert seeds.half(old, old + 0.01).endswith("more than 1,000 seeds each.")


def test_what_has_the_same_code_and_parameters_is_not_compared(copy):
    output = copy.run("python", "tools/seeds.py", "main", ok=False)
    assert output == "error: here: nothing that decides an accuracy differs from main\n"


@pytest.mark.long
def test_each_seed_is_trained_once_and_the_review_compares_the_means(copy):
    def run(n):
        words = ["main", "--seeds", str(n), "--valid-size", "200", "--jobs", "2"]
        return copy.run("python", "tools/seeds.py", *words).splitlines()

    copy.git("checkout", "--quiet", "-b", "topic")
    copy.set_params({"model": {"hdim": 24}})
    first = run(1)
    assert sorted(line.partition(":")[0] for line in first[:2]) == [
        "here, seed 0",
        "main, seed 0",
    ]
    again = run(2)
    assert sorted(line.partition(":")[0] for line in again[:2]) == [
        "here, seed 1",
        "main, seed 1",
    ]
    assert again[2:4] == ["On the validation split:", ""]
    assert again[4] == "|  | accuracy | 95% interval | seeds | parameters |"
    rows = copy.table("metrics/seeds.csv")
    assert sorted(rows.seed) == [0, 0, 1, 1]
    assert set(rows["split"]) == {"valid"}
    assert rows.params.str.contains("model.hdim=24").sum() == 2
    assert rows.code.nunique() == 1
    assert run(2) == again[2:]
    assert copy.git("status", "--porcelain") == " M params.yaml\n?? metrics/seeds.csv\n"
    copy.dvc("repro")
    review = copy.run("python", "tools/review.py", "main")
    assert review.startswith("Over 2 and 2 seeds, on the validation split: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "model.hdim=16,32",
            "-S model.hdim=16,32: 32 is neither KEY=VALUE nor in recipes/",
        ),
        ("model.hdin=16", "-S: model.hdin is not a parameter, got 16 (did you mean"),
        ("model.name=grru", "-S: model.name must be a file in src/mnist_lstm/models"),
        ("plot.seed=7", "plot.seed=7: nothing that decides an accuracy differs from main"),
    ],
)
def test_a_side_that_cannot_be_is_refused_in_one_line(copy, text, said):
    output = copy.run("python", "tools/seeds.py", "main", "-S", text, ok=False)
    assert output.startswith(f"error: {said}")
    assert output.count("\n") == 1
    assert not (copy.path / seeds.ROWS).exists()


@pytest.mark.long
def test_sides_are_pairs_of_parameters_or_recipes(copy):
    """Two models of about one size beside the one that is committed."""
    (copy.path / ".venv").mkdir()
    copy.run("bash", "-c", "cksum <requirements.txt >.venv/installed")
    copy.set_params({"prepare": {"valid_size": 200}})
    (copy.path / "recipes/mine").write_text(
        "-S model.name=transformer\n-S train.epochs=1\n"
    )
    copy.commit("A validation split, and a recipe")
    table = copy.run(
        "make", "seeds", "N=1", "S=model.name=gru,model.hdim=18 mine,model.hdim=20"
    )
    rows = copy.table("metrics/seeds.csv")
    assert sorted(rows.parameters) == sorted(rows.parameters.unique())
    for side, row in zip(
        ["main", "model.name=gru,model.hdim=18", "mine,model.hdim=20"],
        rows.to_dict("records"),
        strict=True,
    ):
        told = f"| {side} | {row['accuracy']:.2%} |  | 1 | {row['parameters']:,} |\n"
        assert told in table
    words = rows.params.str
    assert words.contains("model.hdim=18 .*model.name=gru ").tolist() == [
        False,
        True,
        False,
    ]
    assert words.contains("train.epochs=1 ").tolist() == [False, False, True]
    assert rows.code.nunique() == 3  # each depends on the file of its own model
    assert table.count(" points; one seed each says nothing of chance.\n") == 2
