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
    assert output == "error: nothing that decides an accuracy differs from main\n"


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
    assert again[2] == "| | accuracy | 95% interval | seeds |"
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
