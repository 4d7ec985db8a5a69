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
    assert seeds.difference(old, old[:1]).endswith("; one seed each says nothing of chance")


def test_the_seeds_that_would_see_half_of_it_are_those_of_the_tables():
    """17 a side see one standard deviation with a power of 80%, 64 see half of one."""
    old = pd.Series([-1.0, 0.0, 1.0])  # standard deviation 1
    assert seeds.half(old, old + 2).endswith("takes 17 seeds each.")
    assert seeds.half(old, old + 1).endswith("takes 64 seeds each.")
    assert seeds.half(old, old) == ""
    assert seeds.half(old, old + 0.01).endswith("more than 1,000 seeds each.")


def test_sides_that_cannot_be_compared_are_refused_in_one_line(copy):
    for words, said in (
        ([], "here: nothing that decides an accuracy differs from main"),
        (["-S", "model.hdim=16,32"], "-S model.hdim=16,32: 32 is neither KEY=VALUE nor in"),
        (["-S", "model.hdin=16"], "-S: model.hdin is not a parameter, got 16 (did you"),
    ):
        output = copy.run("python", "tools/seeds.py", "main", *words, ok=False)
        assert output.startswith(f"error: {said}")
        assert output.count("\n") == 1
    assert not (copy.path / seeds.ROWS).exists()


@pytest.mark.long
def test_each_side_is_trained_once_a_seed_and_the_review_compares_the_means(copy):
    """First a recipe beside the committed model, then another width."""
    copy.set_up()
    recipe = "-S model.name=transformer\n-S train.epochs=1\n"
    (copy.path / "recipes/mine").write_text(recipe)
    copy.set_params({"prepare": {"valid_size": 200}})
    copy.commit("A validation split, and a recipe")
    side = "mine,model.hdim=20"
    said = copy.run("make", "seeds", "N=1", f"S={side}")
    rows = copy.table("metrics/seeds.csv")
    assert rows.params.str.contains("model.hdim=20 .*=transformer .*epochs=1 ").sum() == 1
    assert rows.code.nunique() == 2  # each depends on the file of its own model
    for name, row in zip(["main", side], rows.to_dict("records"), strict=True):
        told = f"| {name} | {row['accuracy']:.2%} |  | 1 | {row['parameters']:,} |\n"
        assert told in said
    assert " points; one seed each says nothing of chance.\n" in said

    def run():
        words = ["main", "--seeds", "2", "--jobs", "2"]
        return copy.run("python", "tools/seeds.py", *words).splitlines()

    copy.git("checkout", "--quiet", "-b", "topic")
    copy.set_params({"model": {"hdim": 24}})
    first = run()
    done = sorted(line.partition(":")[0] for line in first[:3])
    assert done == ["here, seed 0", "here, seed 1", "main, seed 1"]
    assert first[3:5] == ["On the validation split:", ""]
    assert run() == first[3:]
    assert copy.git("status", "--porcelain") == " M params.yaml\n?? metrics/seeds.csv\n"
    copy.dvc("repro")
    review = copy.run("python", "tools/review.py", "main")
    assert review.startswith("Over 2 and 2 seeds, on the validation split: ")
