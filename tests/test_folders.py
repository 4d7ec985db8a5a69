"""Folders of own images: their names, links, and what in them is none."""

import random
import shutil

import pytest
from PIL import Image

from defaults import DEFAULT
from mnist_lstm.data.splits import load_split, save_split
from mnist_lstm.plumbing.params import ModelParams
from ownimages import assert_same, noise, own, problems, read, save  # own: a fixture


def test_classes_and_images_have_the_order_of_people_whatever_the_file_system(tmp_path):
    """Also where a name continues another."""
    ordered = "1 9 10 B a a1 a² a10 b cat_9 cat_10 dog dog2 é x x10".split()
    files = {"5.png": 0, "5.png2.png": 1, "x2.png": 2, "x10.png": 3}
    for name in random.Random(0).sample(ordered, len(ordered)):
        for file in random.Random(name).sample(list(files), 4):
            picture = Image.new("L", (3, 2), files[file])
            picture.putpixel((0, 0), ordered.index(name))
            save(picture, tmp_path / "train" / name / file)
        save(noise(name), tmp_path / "test" / name / "t.png")
    train, _ = read(tmp_path, height=2, width=3)
    assert list(train.classes) == ordered
    assert train.x[:, 1, 1].tolist() == [0, 1, 2, 3] * len(ordered)


def test_a_name_is_one_however_the_system_spells_it(tmp_path):
    """macOS writes é as two characters."""
    for part, name in (("train", "e\u0301"), ("train", "\u00e9"), ("test", "\u00e9")):
        save(noise((part, name)), tmp_path / part / name / "1.png")
        save(noise((part, name, "a")), tmp_path / part / f"a/{len(name)}.png")
    train, test = read(tmp_path)
    assert train.classes == test.classes == ("a", "\u00e9")
    assert train.labels.tolist() == [0, 0, 1, 1]


def test_what_is_left_out_is_told_but_for_hidden_files_and_our_own(own, told):
    before = read(own)
    told()
    ours = ".DS_Store train/.hidden/x.png train/cat/._0.png .git/1.png README.md train.dvc"
    for name in ours.split():
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"?")
    assert_same(before, read(own))
    assert told() == []
    for name in ("train/cat/Thumbs.db", "train/labels.csv", "train.zip"):
        (own / name).write_bytes(b"?")
    shutil.copytree(own / "test", own / "val")
    (own / "Train").mkdir()
    (own / "train/bird").mkdir()
    Image.open(own / "train/cat/1.png").save(own / "train/cat/3.bmp")
    assert_same(before, read(own))
    assert told() == [
        "own: neither its train nor its test, left out (2): own/Train, own/val",
        "own: no images, left out (1): own/train/bird",
        "own: no images by their names, left out (3): own/train.zip, own/train/labels.csv, "
        "own/train/cat/Thumbs.db",
        "the same picture as another of its class, left out (1): own/train/cat/3.bmp",
    ]


def test_classes_that_look_alike_or_are_rare_are_told(own, told):
    for name in ("Cat", "cat ", "c at"):
        save(noise(name), own / "train" / name / "1.png")
    assert read(own)[0].classes == ("Cat", "c at", "cat", "cat ", "dog")
    assert told() == [
        "own/train: one image of a class to learn from (3): Cat, c at, cat ",
        "own/test: no images of a class (3): Cat, c at, cat ",
        "own: classes that differ only in case or blanks (4): 'Cat', 'c at', 'cat', 'cat '",
    ]


@pytest.mark.parametrize("n_class", [1, 2, 1000, 1001])
def test_from_2_to_1000_classes_are_read(tmp_path, n_class):
    for i in range(n_class):
        for j in range(2):
            save(noise((i, j), (4, 4)), tmp_path / f"own/train/{i}/{j}.png")
    if n_class in (1, 1001):
        few = "1 class with images" if n_class == 1 else "1,001 classes with images"
        (line,) = problems(tmp_path / "own")
        assert line == f"own/train: {few}, expected 2 to 1,000"
    else:
        train, test = read(tmp_path / "own", height=4, width=4)
        assert train.classes == tuple(map(str, range(n_class)))
        assert train.labels.tolist() == test.labels.tolist() == list(range(n_class))


@pytest.mark.parametrize("make", ["", "own", "own/train", "own/train/cat", "own/Train/cat"])
def test_no_images_are_one_line_that_says_where_they_are_expected(tmp_path, make):
    (tmp_path / make).mkdir(parents=True, exist_ok=True)
    (line,) = problems(tmp_path / "own")
    assert line.startswith("own/train: no images; each class is a folder of them, own/")


SPELT = (
    *("نمی\u200cشود", "ක්\u200dෂ", "two\u00a0words", "全\u3000角"),
    *("👩\u200d👩\u200d👧", "🏴\U000e0067"),
    "\U0001fae9",  # later than some Pythons
)


def test_scripts_that_join_letters_name_classes(own, tmp_path):
    for name in SPELT:
        for part in ("train", "test"):
            save(noise((part, name)), own / part / name / "1.png")
    train, _ = read(own)
    assert {*SPELT, "cat", "dog"} == set(train.classes)
    save_split(train, tmp_path / "split")
    params = ModelParams(**DEFAULT["model"] | {"ydim": 2 + len(SPELT)})
    assert load_split(tmp_path / "split", params).classes == train.classes


@pytest.mark.parametrize("name", ["a\nerror: b", "a\x1b[31m", "\u202eabc", "a\u2028b"])
def test_a_class_whose_name_breaks_the_line_is_refused_in_one(own, name):
    save(noise(5), own / "train" / name / "1.png")
    (line,) = problems(own)
    assert line.startswith("own/train/")
    assert line.endswith(": the name of a class must be printable")
    assert line.isprintable()


def test_links_to_files_are_read_as_dvc_may_make_them_and_folders_are_not(own):
    before = read(own)
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        path.rename(own.parent / f"cache{i}")
        path.symlink_to(own.parent / f"cache{i}")
    assert_same(before, read(own))
    (own / "train").rename(own.parent / "elsewhere")
    (own / "train").symlink_to(own.parent / "elsewhere")
    first, *_ = problems(own)
    assert first == "own/train: a link to a folder, and DVC does not look into it; copy it"
