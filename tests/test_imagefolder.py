"""Own images in folders: what is read, in which order, what is refused, what is told."""

import os
import random
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mnist_lstm.data.decoding import MAX_PIXELS, open_picture
from mnist_lstm.data.picture import image_of
from mnist_lstm.plumbing import processes
from ownimages import assert_same, noise, own, problems, read, save  # own: a fixture
from pictures import drawn


@pytest.fixture
def many(tmp_path):
    """Train images alone: 10, 25 and 2 of three classes."""
    folder = tmp_path / "own"
    for i, (name, n) in enumerate({"a": 10, "b": 25, "c": 2}.items()):
        for j in range(n):
            save(noise((i, j)), folder / "train" / name / f"{j}.png")
    return folder


def test_images_written_out_of_a_data_set_come_back_as_they_were(tmp_path):
    digits = load_digits()
    images = np.round(digits.images[:200] * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(images, digits.target, strict=False)):
        save(Image.fromarray(image), tmp_path / f"train/{label}/{i}.png")
    train, test = read(tmp_path, height=8, width=8)
    both = torch.cat([train.x, test.x]).flatten(1)
    assert sorted(both.tolist()) == sorted(images.reshape(200, -1).tolist())
    assert len(test) == pytest.approx(40, abs=5)
    labels = {x.tobytes(): y for x, y in zip(images, digits.target, strict=False)}
    for x, y in zip(train.x.numpy(), train.labels, strict=True):
        assert train.classes[y] == str(labels[x.tobytes()])


def test_formats_are_known_by_their_endings_in_any_case(own):
    endings = "png PNG apng jpg JPEG jfif jpe jif pjpeg mpo webp bmp dib gif tif avif pnm"
    for ending in endings.split():
        kind = {"jif": "JPEG", "pjpeg": "JPEG"}.get(ending)
        save(noise(ending, (40, 30), "RGB"), own / f"train/cat/more.{ending}", kind)
    assert read(own)[0].labels.bincount().tolist() == [3 + len(endings.split()), 3]


def test_pictures_of_any_size_and_mode_are_scaled_on_white_and_turned(own):
    clear = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 30, 20))  # black ink on the left
    save(clear, own / "train/cat/0.png")
    photo = Image.new("L", (20, 10), 255)
    photo.paste(0, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    save(photo, own / "train/cat/1.jpg", exif=exif)
    train, _ = read(own, height=5, width=6)
    assert train.x.shape == (7, 5, 6)
    assert train.x[0, 2].tolist()[:2] == [0, 0]
    assert train.x[0, 2].tolist()[-2:] == [255, 255]
    column = train.x[1, :, 0].tolist()
    assert (column[0], column[-1]) == (0, 255)
    assert column == sorted(column)


def test_several_processes_read_and_refuse_what_one_does(many, monkeypatch):
    monkeypatch.setattr(processes, "_FEW", 0)
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


@pytest.mark.parametrize("how", ["scale", "mnist"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_greys_of_any_depth_are_those_of_8_bits(own, bits, how, told):
    """In 16 bits, as of a camera: dim pictures stay dim, and are not the same."""
    narrow = own.parent / "narrow"
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        dim = 0.02 if path.name == "0.png" and how == "scale" else 1  # of scale's greys
        grey = np.asarray(drawn(i, side=56)) * (dim * (2**bits - 1) / 255)
        save(Image.fromarray(grey.round().astype(np.uint16)), path)
        grey = np.round(grey * (255 / (2**bits - 1))).astype(np.uint8)
        save(Image.fromarray(grey), narrow / path.relative_to(own))
    wide, expected = read(own, picture=how), read(narrow, picture=how)
    for split, other in zip(wide, expected, strict=True):
        assert (split.x.int() - other.x.int()).abs().max() <= 1
    lines = "\n".join(told())
    assert (f"(10): 0 is black, {2**bits - 1:,} white" in lines) == (how == "scale")
    assert ("almost a single grey" in lines) == (how == "scale")
    dim = open_picture((own / "train/dog/0.png").read_bytes())
    alone = image_of(dim, how, 28, 28, wide[0].greys)  # as predict does
    assert (alone == wide[0].x[3].numpy()).all()
    assert (wide[0].picture, wide[1].picture) == (how, how)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1), (-900, 1e5)])
def test_floats_are_scaled_together_whatever_is_infinite(own, low, high):
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        values = np.asarray(drawn(i)).astype(np.float32) / 255 * (high - low) + low
        values[0, :4] = np.inf, -np.inf, np.nan, -3.4e38
        save(Image.fromarray(values), path, "TIFF")
    train, _ = read(own)
    assert train.greys == {"F": (low, high)}
    expected = image_of(drawn(7).convert("RGBA"), "scale", 28, 28)  # of train/dog/0.png
    assert np.abs(train.x[3].numpy()[1:] - expected[1:].astype(int)).max() <= 1


# Without test images.


def test_without_test_images_a_share_of_each_class_is_held_out(many, told):
    train, test = read(many, test_size=0.2)
    assert train.labels.bincount().tolist() == [8, 20, 1]
    assert test.labels.bincount().tolist() == [2, 5, 1]
    rows = torch.cat([train.x, test.x]).flatten(1)
    assert len(rows.unique(dim=0)) == 37
    assert told() == [
        "own/test: no images; 20% of each class of own/train is held out for testing",
        "own/train: one image of a class to learn from (1): c",
    ]
    (many / "test/a").mkdir(parents=True)  # Git would not keep it
    assert_same((train, test), read(many, test_size=0.2))
    for share in (0.001, 0.999):
        for split in read(many, test_size=share):
            assert split.labels.unique().tolist() == [0, 1, 2]
    (many / "train/c/0.png").unlink()
    one = "own/train/c: one image; without images in own/test a class needs two"
    assert problems(many) == [one]


def test_the_seed_draws_them_and_a_new_name_or_neighbour_does_not(many):
    def tested(**changes):
        return {row.numpy().tobytes() for row in read(many, **changes)[1].x}

    before = tested()
    assert tested(seed=1) != before
    for path in sorted((many / "train/b").iterdir()):
        path.rename(path.with_name(f"renamed{random.Random(path.name).random()}.png"))
    assert tested() == before
    noise("another").save(many / "train/b/another.png")
    assert len(tested() ^ before) <= 2


# Faults.


def test_all_faults_are_told_at_once_by_name_in_a_line_each(own):
    (own / "train/cat/text.png").write_text("no picture\n")
    whole = (own / "train/cat/1.png").read_bytes()
    (own / "train/cat/cut.png").write_bytes(whole[:300])
    (own / "train/cat/empty.jpg").write_bytes(b"")
    save(Image.open(own / "train/cat/2.png"), own / "test/cat/copy.bmp")
    save(Image.open(own / "train/dog/0.png"), own / "train/cat/dog.tif")
    for i, name in enumerate("loose train/loose train/cat/more/deep test/bird/1".split()):
        save(noise(i), own / f"{name}.png")
    (own / "train/linked").symlink_to(own / "train/cat")
    (own / "train/dog/gone.png").symlink_to(own / "nowhere.png")
    bad = os.fsencode(own / "train/cat") + b"/caf\xe9.png"
    (own / "train/cat/0.png").rename(os.fsdecode(bad))
    Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)).save(own / "train/cat/big.png")
    start = time.monotonic()
    found = problems(own)
    assert time.monotonic() - start < 2  # what is too big is not decoded
    place = "in no folder of a class; expected own/train/CLASS/IMAGE"
    expected = [
        "own/train/cat/caf\\udce9.png: DVC reads names in UTF-8 alone; rename it (or all, ",
        f"own/loose.png: {place}",
        "own/train/linked: a link to a folder, and DVC does not look into it; copy it",
        f"own/train/loose.png: {place}",
        f"own/train/cat/more/deep.png: {place}",
        "own/test/bird: a class of which own/train has no image",
        "own/train/cat/big.png: 10,000 x 6,401 pixels are more than the 64 megapixels all",
        "own/train/cat/cut.png: damaged",
        "own/train/cat/empty.jpg: an empty file",
        "own/train/cat/text.png: not a picture",
        "own/train/dog/gone.png: No such file or directory",
        "own/train/dog/0.png: the same picture as own/train/cat/dog.tif, of another class",
        "own/test/cat/copy.bmp: the same picture as own/train/cat/2.png; remove one",
    ]
    assert len(found) == len(expected)
    for beginning in expected:
        assert [line for line in found if line.startswith(beginning)]


def test_of_many_faults_the_first_are_told_and_the_rest_counted(own):
    for i in range(50):
        (own / f"train/cat/bad{i}.png").write_bytes(b"?")
    lines = problems(own)
    assert [line.partition(":")[0] for line in lines[:20]] == [
        f"own/train/cat/bad{i}.png" for i in range(20)
    ]
    assert lines[20:] == ["and 30 more"]
