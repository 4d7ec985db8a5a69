"""Own images in folders: what is read, in which order, what is refused, what is told."""

import os
import random
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from defaults import DEFAULT
from mnist_lstm.data import imagefolder
from mnist_lstm.data.picture import MAX_PIXELS, image_of, open_picture, prepare
from mnist_lstm.data.preparation import hold_out
from mnist_lstm.data.splits import load_split, save_split
from mnist_lstm.plumbing import workers
from mnist_lstm.plumbing.errors import ImageFolderError
from mnist_lstm.plumbing.params import ModelParams, PrepareParams
from pictures import drawn


def read(folder, **changes):
    """Read with the default parameters, pictures scaled, but for ``changes``."""
    values = DEFAULT["prepare"] | {"picture": "scale"} | changes
    return imagefolder.read_splits(folder, PrepareParams(**values))


def noise(seed, size=(28, 28), mode="L"):
    """Return a picture like no other."""
    shape = (*size[::-1], len(mode)) if len(mode) > 1 else size[::-1]
    generator = np.random.default_rng(list(repr(seed).encode()))
    return Image.fromarray(generator.integers(0, 256, shape, np.uint8))


@pytest.fixture
def own(tmp_path):
    """Three train and two test images of each of the classes `cat` and `dog`."""
    folder = tmp_path / "own"
    for i, name in enumerate(["cat", "dog"]):
        for part, n in (("train", 3), ("test", 2)):
            (folder / part / name).mkdir(parents=True)
            for j in range(n):
                noise((i, part == "test", j)).save(folder / part / name / f"{j}.png")
    return folder


def problems(folder, **changes):
    """Return the lines of the refusal, without the folder's place on this machine."""
    with pytest.raises(ImageFolderError) as caught:
        read(folder, **changes)
    return str(caught.value).replace(str(folder), "own").splitlines()


def test_a_folder_is_a_class_and_a_picture_of_the_size_keeps_its_greys(own):
    train, test = read(own)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [0, 0, 1, 1]
    expected = np.asarray(Image.open(own / "train/dog/1.png"))
    assert (train.images[4].numpy() == expected).all()


def test_images_written_out_of_a_data_set_come_back_as_they_were(tmp_path):
    digits = load_digits()
    images = np.round(digits.images[:200] * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(images, digits.target, strict=False)):
        folder = tmp_path / "train" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    train, test = read(tmp_path, height=8, width=8)
    both = torch.cat([train.images, test.images]).flatten(1)
    assert sorted(both.tolist()) == sorted(images.reshape(200, -1).tolist())
    assert len(test) == pytest.approx(40, abs=5)


def test_classes_and_images_have_the_order_of_people_whatever_the_file_system(tmp_path):
    names = ["10", "9", "1", "b", "B", "é", "cat 10", "cat 9"]
    for name in random.Random(0).sample(names, len(names)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in (10, 2, 33, 1):
            picture = Image.new("L", (3, 2), number)
            picture.putpixel((0, 0), names.index(name))
            picture.save(tmp_path / "train" / name / f"x{number}.png")
        (tmp_path / "test" / name).mkdir(parents=True)
        noise(name).save(tmp_path / "test" / name / "t.png")
    train, _ = read(tmp_path, height=2, width=3)
    assert train.classes == ("1", "9", "10", "B", "b", "cat 9", "cat 10", "é")
    assert train.images[:, 1, 1].tolist() == [1, 2, 10, 33] * 8


def test_names_of_which_one_continues_the_other_are_sorted(tmp_path):
    names = ["a", "a1", "a²", "a10", "dog", "dog2", "x", "x٣", "x10", "x 2"]
    for name in random.Random(1).sample(names, len(names)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for file in ("5.png", "5.png2.png", "5.png2"):
            noise((name, file)).save(tmp_path / "train" / name / file, "PNG")
    assert list(read(tmp_path)[0].classes) == names


def test_a_name_is_one_however_the_system_spells_it(tmp_path):
    """macOS writes é as two characters."""
    for part, name in (("train", "e\u0301"), ("test", "\u00e9")):
        for other in (name, "a"):
            (tmp_path / part / other).mkdir(parents=True)
            noise((part, other)).save(tmp_path / part / other / "1.png")
    train, test = read(tmp_path)
    assert train.classes == test.classes == ("a", "\u00e9")


@pytest.mark.parametrize(
    "ending",
    "png PNG apng jpg JPEG jfif jpe jif pjpeg mpo webp bmp dib gif tif avif pnm".split(),
)
def test_formats_are_known_by_their_endings_in_any_case(own, ending):
    path = own / "train/cat" / f"more.{ending}"
    kind = {"jif": "JPEG", "pjpeg": "JPEG"}.get(ending)
    noise(99, (40, 30), "RGB").save(path, kind)
    train, _ = read(own)
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_pictures_of_any_size_and_mode_are_scaled_on_white(own):
    clear = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 30, 20))  # black ink on the left
    clear.save(own / "train/cat/0.png")
    train, _ = read(own, height=5, width=6)
    assert train.images.shape == (6, 5, 6)
    assert train.images[0, 2].tolist()[:2] == [0, 0]
    assert train.images[0, 2].tolist()[-2:] == [255, 255]


def test_a_photo_that_lies_on_its_side_is_turned(own):
    photo = Image.new("L", (20, 10), 255)
    photo.paste(0, (0, 0, 10, 10))
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    photo.save(own / "train/cat/0.jpg", exif=exif)
    (own / "train/cat/0.png").unlink()
    train, _ = read(own, height=4, width=2)
    column = train.images[0, :, 0].tolist()
    assert (column[0], column[-1]) == (0, 255)
    assert column == sorted(column)


def test_mnists_preparation_is_that_of_predict(own):
    for path in own.rglob("*.png"):
        picture = Image.new("L", (100, 120), 230)
        *_, part, name, _ = path.parts
        left = 10 + int(path.stem) * 7 + 30 * (name == "dog")
        picture.paste(20, (left, 20, left + 15 + 5 * (part == "test"), 95))
        picture.save(path)
    train, _ = read(own, picture="mnist")
    assert train.picture == "mnist"
    expected = prepare(open_picture((own / "train/dog/2.png").read_bytes()))
    assert (train.images[5].numpy() == expected).all()
    assert train.images.shape == (6, 28, 28)


def test_several_processes_read_and_refuse_what_one_does(many, monkeypatch):
    monkeypatch.setattr(workers, "_FEW", 0)
    splits, refusals = [], []
    for n_worker in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_worker: n)
        splits.append(read(many))
        (many / "train/b/cut.png").write_bytes(b"?")
        (many / "train/a/empty.png").touch()
        refusals.append(problems(many))
        (many / "train/b/cut.png").unlink()
        (many / "train/a/empty.png").unlink()
    assert_same(*splits)
    assert refusals[0] == refusals[1]
    assert len(refusals[0]) == 2


def test_hidden_files_are_ignored_and_others_told(own, capsys):
    before = read(own)
    capsys.readouterr()
    for name in (".DS_Store", "train/.hidden/x.png", "train/cat/._0.png", ".git/1.png"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"?")
    assert_same(before, read(own))
    assert capsys.readouterr().out == ""
    for name in ("train/cat/Thumbs.db", "train/labels.csv", "README.md"):
        (own / name).write_bytes(b"?")
    (own / "train/bird").mkdir()
    assert_same(before, read(own))
    assert capsys.readouterr().out.replace(str(own), "own").splitlines() == [
        "own/train: no images, left out (1): own/train/bird",
        "own/train: no images by their names, left out (2): own/train/labels.csv, "
        "own/train/cat/Thumbs.db",
    ]


def test_what_lies_beside_train_and_test_is_told(own, capsys):
    before = read(own)
    capsys.readouterr()
    shutil.copytree(own / "test", own / "val")
    (own / "Train").mkdir()
    for name in ("train.zip", "train.dvc", "README.md", ".gitignore"):
        (own / name).touch()
    assert_same(before, read(own))
    assert capsys.readouterr().out.replace(str(own), "own") == (
        "own: neither its train nor its test, left out (3): own/Train, own/train.zip, "
        "own/val\n"
    )


def test_classes_that_look_alike_are_told(own, capsys):
    for name in ("Cat", "cat ", "c at"):
        (own / "train" / name).mkdir()
        noise(name).save(own / "train" / name / "1.png")
    assert read(own)[0].classes == ("Cat", "c at", "cat", "cat ", "dog")
    assert (
        "own: classes that differ only in case or blanks (4): 'Cat', 'c at', 'cat', 'cat '"
    ) in capsys.readouterr().out.replace(str(own), "own")


@pytest.mark.parametrize("how", ["scale", "mnist"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_greys_of_any_depth_are_those_of_8_bits(own, bits, how, capsys):
    """In 16 bits, as of a camera: dim pictures stay dim, and are not the same."""
    narrow = own.parent / "narrow"
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        dim = 0.02 if path.name == "0.png" and how == "scale" else 1  # of scale's greys
        grey = np.asarray(drawn(i, side=56)) * (dim * (2**bits - 1) / 255)
        Image.fromarray(grey.round().astype(np.uint16)).save(path)
        (narrow / path.relative_to(own)).parent.mkdir(parents=True, exist_ok=True)
        grey = np.round(grey * (255 / (2**bits - 1))).astype(np.uint8)
        Image.fromarray(grey).save(narrow / path.relative_to(own))
    wide, expected = read(own, picture=how), read(narrow, picture=how)
    for split, other in zip(wide, expected, strict=True):
        assert (split.images.int() - other.images.int()).abs().max() <= 1
    told = capsys.readouterr().out
    assert (f"(10): 0 is black, {2**bits - 1:,} white" in told) == (how == "scale")
    assert ("almost a single grey" in told) == (how == "scale")
    dim = open_picture((own / "train/dog/0.png").read_bytes())
    alone = image_of(dim, how, 28, 28, wide[0].greys)  # as predict does
    assert (alone == wide[0].images[3].numpy()).all()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1), (-900, 1e5)])
def test_floats_are_scaled_together_whatever_is_infinite(own, low, high):
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        values = np.asarray(drawn(i)).astype(np.float32) / 255 * (high - low) + low
        values[0, :4] = np.inf, -np.inf, np.nan, -3.4e38
        Image.fromarray(values).save(path, "TIFF")
    train, _ = read(own)
    assert train.greys == {"F": (low, high)}
    expected = image_of(drawn(7).convert("RGBA"), "scale", 28, 28)  # of train/dog/0.png
    assert np.abs(train.images[3].numpy()[1:] - expected[1:].astype(int)).max() <= 1


def assert_same(splits, others):
    for split, other in zip(splits, others, strict=True):
        assert split.classes == other.classes
        assert torch.equal(split.images, other.images)
        assert torch.equal(split.labels, other.labels)


# Without test images.


@pytest.fixture
def many(tmp_path):
    """Train images alone: 10, 25 and 2 of three classes."""
    folder = tmp_path / "many"
    for i, (name, n) in enumerate({"a": 10, "b": 25, "c": 2}.items()):
        (folder / "train" / name).mkdir(parents=True)
        for j in range(n):
            noise((i, j)).save(folder / "train" / name / f"{j}.png")
    return folder


def test_without_test_images_a_share_of_each_class_is_held_out(many, capsys):
    train, test = read(many, test_size=0.2)
    assert train.labels.bincount().tolist() == [8, 20, 1]
    assert test.labels.bincount().tolist() == [2, 5, 1]
    rows = torch.cat([train.images, test.images]).flatten(1)
    assert len(rows.unique(dim=0)) == 37
    told = capsys.readouterr().out.replace(str(many), "own").splitlines()
    assert told == [
        "own/test: no images; 20% of each class of own/train is held out for testing",
        "own/train: one image of a class to learn from (1): c",
    ]
    (many / "test/a").mkdir(parents=True)  # Git would not keep it
    assert_same((train, test), read(many, test_size=0.2))


def test_the_last_names_of_each_class_are_held_out_for_validation(many):
    for path in (many / "train/c").iterdir():
        path.unlink()  # too few for both
    train, _ = read(many)
    place = {noise((1, j)).tobytes(): j for j in range(25)}  # of b
    kept, heldout = (
        [place[i.numpy().tobytes()] for i in split.images[split.labels == 1]]
        for split in hold_out(train, 7, seed=0, valid_split="last").values()
    )
    assert kept == sorted(kept)
    assert len(heldout) == 5  # of 20, for 7 of 28
    assert max(kept) < min(heldout)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_every_class_is_in_both_whatever_the_share(many, share):
    for split in read(many, test_size=share):
        assert split.labels.unique().tolist() == [0, 1, 2]


def test_the_seed_draws_them_and_a_new_name_or_neighbour_does_not(many):
    def tested():
        return {row.numpy().tobytes() for row in read(many)[1].images}

    before = tested()
    assert {row.numpy().tobytes() for row in read(many, seed=1)[1].images} != before
    for path in sorted((many / "train/b").iterdir()):
        path.rename(path.with_name(f"renamed{random.Random(path.name).random()}.png"))
    assert tested() == before
    noise("another").save(many / "train/b/another.png")
    assert len(tested() ^ before) <= 2


def test_a_class_with_one_image_cannot_be_in_both(many):
    (many / "train/c/0.png").unlink()
    assert problems(many) == [
        "own/train/c: one image; without images in own/test a class needs two"
    ]


# Faults.


def test_all_faults_are_told_at_once_by_name_in_a_line_each(own):
    (own / "train/cat/text.png").write_text("no picture\n")
    whole = (own / "train/cat/1.png").read_bytes()
    (own / "train/cat/cut.png").write_bytes(whole[:300])
    (own / "train/cat/empty.jpg").write_bytes(b"")
    (own / "train/cat/copy.bmp").write_bytes(b"")
    Image.open(own / "train/cat/2.png").save(own / "test/cat/copy.bmp")
    (own / "train/cat/copy.bmp").unlink()
    Image.open(own / "train/dog/0.png").save(own / "train/cat/dog.tif")
    noise(7).save(own / "loose.png")
    noise(8).save(own / "train/loose.png")
    (own / "train/cat/more").mkdir()
    noise(9).save(own / "train/cat/more/deep.png")
    (own / "test/bird").mkdir()
    noise(10).save(own / "test/bird/1.png")
    (own / "train/linked").symlink_to(own / "train/cat")
    (own / "train/dog/gone.png").symlink_to(own / "nowhere.png")
    os.mkfifo(own / "train/dog/pipe.png")
    found = problems(own)
    expected = [
        "own/train/linked: a link to a folder, and DVC does not look into it; copy it",
        "own/train/loose.png: in no folder of a class; expected own/train/CLASS/IMAGE",
        "own/train/cat/more/deep.png: in no folder of a class; expected "
        "own/train/CLASS/IMAGE",
        "own/train/dog/gone.png: not a regular file",
        "own/train/dog/pipe.png: not a regular file",
        "own/loose.png: in no folder of a class; expected own/train/CLASS/IMAGE",
        "own/test/bird: a class of which own/train has no image",
        "own/train/cat/cut.png: damaged",
        "own/train/cat/empty.jpg: an empty file",
        "own/train/cat/text.png: not a picture",
        "own/train/dog/0.png: the same picture as own/train/cat/dog.tif, of another class",
        "own/test/cat/copy.bmp: the same picture as own/train/cat/2.png; remove one",
    ]
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


def test_of_many_faults_the_first_are_told_and_the_rest_counted(own):
    for i in range(50):
        (own / f"train/cat/bad{i}.png").write_bytes(b"?")
    lines = problems(own)
    assert [line.partition(":")[0] for line in lines[:20]] == [
        f"own/train/cat/bad{i}.png" for i in range(20)
    ]
    assert lines[20:] == ["and 30 more"]


def test_a_picture_too_big_is_refused_before_it_is_decoded(own):
    Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)).save(own / "train/cat/big.png")
    start = time.monotonic()
    (line,) = problems(own)
    assert time.monotonic() - start < 1
    assert line.startswith("own/train/cat/big.png: ")
    assert "megapixels" in line


@pytest.mark.parametrize("n_class", [1, 1001])
def test_one_class_or_more_than_1000_are_refused_with_their_number(tmp_path, n_class):
    for i in range(n_class):
        (tmp_path / f"own/train/{i}").mkdir(parents=True)
        for j in range(2):
            noise((i, j), (2, 2)).save(tmp_path / f"own/train/{i}/{j}.png")
    few = "1 class with images" if n_class == 1 else "1,001 classes with images"
    assert problems(tmp_path / "own")[0] == f"own/train: {few}, expected 2 to 1,000"


@pytest.mark.parametrize("make", ["", "own", "own/train", "own/train/cat", "own/Train/cat"])
def test_no_images_are_one_line_that_says_where_they_are_expected(tmp_path, make):
    (tmp_path / make).mkdir(parents=True, exist_ok=True)
    (line,) = problems(tmp_path / "own")
    assert line.startswith("own/train: no images; each class is a folder of them, own/")


SPELT = (
    *(
        "نمی\u200cشود",
        "ක්\u200dෂ",
        "two\u00a0words",
        "全\u3000角",
        "👩\u200d👩\u200d👧",
        "🏴\U000e0067",
    ),
    "\U0001fae9",  # later than some Pythons
)


def test_scripts_that_join_letters_name_classes(own, tmp_path):
    for name in SPELT:
        for part in ("train", "test"):
            (own / part / name).mkdir()
            noise((part, name)).save(own / part / name / "1.png")
    train, _ = read(own)
    assert {*SPELT, "cat", "dog"} == set(train.classes)
    save_split(train, tmp_path / "split")
    params = ModelParams(**DEFAULT["model"] | {"ydim": 2 + len(SPELT)})
    assert load_split(tmp_path / "split", params).classes == train.classes


def test_a_file_whose_name_dvc_cannot_read_is_named(own):
    bad = os.fsencode(own / "train/cat") + b"/caf\xe9.png"
    (own / "train/cat/0.png").rename(os.fsdecode(bad))
    (line,) = problems(own)
    assert line.startswith("own/train/cat/caf\\udce9.png: DVC reads names in UTF-8 alone; ")


@pytest.mark.parametrize(
    "name",
    [
        "a\nerror: b",
        "a\x1b[31m",
        b"\xff\xfe",
        "\u202eabc",
        "\u2067abc",
        "a\u2028b",
        "a\x85",
    ],
)
def test_a_class_whose_name_breaks_the_line_is_refused_in_one(own, name):
    folder = os.fsencode(own / "train") + b"/" + os.fsencode(name)
    os.mkdir(folder)  # noqa: PTH102 - bytes
    noise(5).save(os.path.join(folder, b"1.png").decode(errors="surrogateescape"))  # noqa: PTH118
    (line,) = problems(own)
    assert line.startswith("own/train/")
    assert line.endswith(": the name of a class must be printable")
    assert line.isprintable()


def test_a_folder_that_is_a_link_is_refused(own):
    (own / "train").rename(own.parent / "elsewhere")
    (own / "train").symlink_to(own.parent / "elsewhere")
    assert problems(own) == [
        "own/train: a link to a folder, and DVC does not look into it; copy it"
    ]


def test_links_to_files_are_read_as_dvc_may_make_them(own):
    before = read(own)
    for path in own.rglob("*.png"):
        stored = own.parent / f"cache{len(list(own.parent.iterdir()))}"
        path.rename(stored)
        path.symlink_to(stored)
    assert_same(before, read(own))


def test_a_double_in_a_class_is_read_once_and_told(own, capsys):
    before = read(own)
    capsys.readouterr()
    Image.open(own / "train/cat/1.png").save(own / "train/cat/3.bmp")
    assert_same(before, read(own))
    assert capsys.readouterr().out.replace(str(own), "own") == (
        "the same picture as another of its class, left out (1): own/train/cat/3.bmp\n"
    )


def test_a_thousand_classes_are_read(tmp_path):
    for i in range(1000):
        (tmp_path / f"train/{i}").mkdir(parents=True)
        for j in range(2):
            noise((i, j), (4, 4)).save(tmp_path / f"train/{i}/{j}.png")
    train, test = read(tmp_path, height=4, width=4)
    assert train.classes == tuple(map(str, range(1000)))
    assert train.labels.tolist() == test.labels.tolist() == list(range(1000))
