"""Own images in folders: what is read, in which order, what is refused, what is told."""

import os
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mnist_lstm.data.decoding import MAX_PIXELS, open_picture
from mnist_lstm.data.picture import image_of
from mnist_lstm.plumbing import processes
from own_data import problems, read
from pictures import drawn


def noise(seed, size=(28, 28), mode="L"):
    """Return a picture like no other."""
    shape = (*size[::-1], len(mode)) if len(mode) > 1 else size[::-1]
    generator = np.random.default_rng(list(repr(seed).encode()))
    return Image.fromarray(generator.integers(0, 256, shape, np.uint8))


def save(picture, path, kind=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, kind, **options)


def write(folder, **counts):
    """Write noise as so many images of each class, named by their numbers."""
    for name, n in counts.items():
        for i in range(n):
            save(noise((folder.name, name, i)), folder / name / f"{i}.png")


@pytest.fixture
def own(tmp_path):
    write(tmp_path / "own/train", cat=3, dog=3)
    write(tmp_path / "own/test", cat=2, dog=2)
    return tmp_path / "own"


@pytest.fixture
def many(tmp_path):
    write(tmp_path / "own/train", a=10, b=25, c=2)
    return tmp_path / "own"


def assert_same(splits, others):
    for split, other in zip(splits, others, strict=True):
        assert split.classes == other.classes
        assert torch.equal(split.x, other.x)
        assert torch.equal(split.labels, other.labels)


def test_formats_are_known_by_their_endings_in_any_case(own):
    endings = "png PNG apng jpg JPEG jfif jpe jif pjpeg mpo webp bmp dib gif tif avif pnm"
    for ending in endings.split():
        kind = {"jif": "JPEG", "pjpeg": "JPEG"}.get(ending)
        save(noise(ending, (40, 30), "RGB"), own / f"train/cat/more.{ending}", kind)
    assert read(own)[0].labels.bincount().tolist() == [3 + len(endings.split()), 3]


def test_several_processes_read_and_refuse_what_one_does(many, monkeypatch):
    monkeypatch.setattr(processes, "_FEW", 0)
    splits, refusals = [], []
    for n_worker in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_worker: n)
        splits.append(read(many))
        for name in ("a/empty.png", "b/empty.png"):
            (many / "train" / name).touch()
        refusals.append(problems(many))
        for name in ("a/empty.png", "b/empty.png"):
            (many / "train" / name).unlink()
    assert_same(*splits)
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("how", ["scale", "mnist"])
@pytest.mark.parametrize("bits", [8, 12, 16])
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


def test_floats_are_scaled_together_whatever_is_infinite(own):
    low, high = -900, 1e5
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        values = np.asarray(drawn(i)).astype(np.float32) / 255 * (high - low) + low
        values[0, :4] = np.inf, -np.inf, np.nan, -3.4e38
        save(Image.fromarray(values), path, "TIFF")
    train, _ = read(own)
    assert train.greys == {"F": (low, high)}
    expected = image_of(drawn(7).convert("RGBA"), "scale", 28, 28)  # of train/dog/0.png
    assert np.abs(train.x[3].numpy()[1:] - expected[1:].astype(int)).max() <= 1


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
    assert train.x[:, 0, 0].tolist() == train.labels.tolist()
    assert train.x[:, 1, 1].tolist() == [0, 1, 2, 3] * len(ordered)


def test_names_of_any_script_are_classes_however_the_system_spells_them(own):
    """macOS writes é as two characters."""
    new_in_unicode = "\U0001fae9"  # later than some Pythons
    names = "نمی\u200cشود ක්\u200dෂ two\u00a0words 👩\u200d👩\u200d👧 \u00e9".split(" ")
    for name in (*names, "e\u0301", new_in_unicode):
        save(noise(name), own / "train" / name / "1.png")
    train, _ = read(own)
    assert set(train.classes) == {*names, new_in_unicode, "cat", "dog"}
    assert train.names(train.labels).count("\u00e9") == 2


@pytest.mark.parametrize("name", ["a\nerror: b", "a\x1b[31m", "\u202eabc"])
def test_a_class_whose_name_breaks_the_line_is_refused_in_one(own, name):
    save(noise(5), own / "train" / name / "1.png")
    (line,) = problems(own)
    assert line.startswith("own/train/")
    assert line.endswith(": the name of a class must be printable")
    assert line.isprintable()


def test_what_is_left_out_is_told_but_for_hidden_files_and_our_own(own, told):
    before = read(own)
    told()
    ours = ".DS_Store train/.hidden/x.png train/cat/._0.png .git/1.png README.md train.dvc"
    for name in ours.split():
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(b"?")
    assert_same(before, read(own))
    assert told() == []
    for name in ("train/cat/Thumbs.db", "train/labels.txt", "train.zip"):
        (own / name).write_bytes(b"?")
    shutil.copytree(own / "test", own / "val")
    (own / "Train").mkdir()
    (own / "train/bird").mkdir()
    Image.open(own / "train/cat/1.png").save(own / "train/cat/3.bmp")
    assert_same(before, read(own))
    assert told() == [
        "own: neither its train nor its test, left out (2): own/Train, own/val",
        "own: no images, left out (1): own/train/bird",
        "own: no images by their names, left out (3): own/train.zip, own/train/labels.txt, "
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


def test_without_test_images_a_share_of_each_class_is_held_out(many, told):
    train, test = read(many, test_size=0.2)
    assert train.labels.bincount().tolist() == [8, 20, 1]
    assert test.labels.bincount().tolist() == [2, 5, 1]
    assert len(torch.cat([train.x, test.x]).unique(dim=0)) == 37
    assert told() == [
        "own/test: no images; 20% of each class of own/train is held out for testing",
        "own/train: one image of a class to learn from (1): c",
    ]
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
    found = problems(own)
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


@pytest.mark.parametrize("n", [1, 1001])
def test_other_than_2_to_1000_classes_are_refused(tmp_path, n):
    """Of many faults the first 20 are told, and the rest counted."""
    for i in range(n):
        (tmp_path / f"own/train/{i}").mkdir(parents=True)
        (tmp_path / f"own/train/{i}/1.png").touch()
    count, *others, last = problems(tmp_path / "own")
    few = f"{n:,} class" + "es" * (n > 1)
    assert count == f"own/train: {few} with images, expected 2 to 1,000"
    assert others == [f"own/train/{i}/1.png: an empty file" for i in range(min(n - 1, 19))]
    assert last == ("own/train/0/1.png: an empty file" if n == 1 else "and 982 more")


def test_links_to_files_are_read_as_dvc_may_make_them_and_folders_are_not(own):
    before = read(own)
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        path.rename(own.parent / f"cache{i}")
        path.symlink_to(own.parent / f"cache{i}")
    assert_same(before, read(own))
    (own / "train").rename(own.parent / "elsewhere")
    (own / "train").symlink_to(own.parent / "elsewhere")
    shutil.rmtree(own / "test")
    first, *_ = problems(own)
    assert first == "own/train: a link to a folder, and DVC does not look into it; copy it"
