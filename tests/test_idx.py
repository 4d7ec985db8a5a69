import contextlib
import gzip
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lstm import idx
from mnist_lstm.idx import Array, IdxError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.gz"


def header(*shape, magic=None):
    return (magic or bytes((0, 0, 8, len(shape)))) + struct.pack(f">{len(shape)}I", *shape)


def test_images_come_back_as_they_were_written(path):
    array = Array((2, 3, 4), bytes(range(24)))
    idx.write(path, array)
    assert idx.read(path, ndim=3) == array


def test_the_same_array_is_the_same_file(tmp_path):
    array = Array((3,), b"abc")
    idx.write(tmp_path / "a", array)
    idx.write(tmp_path / "b", array)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "starts with nothing"),
        (header(3, magic=b"\0\0\x0d\1") + b"abc", "starts with 00 00 0d 01"),
        (header(3, 1, 1) + b"abc", "starts with 00 00 08 03, expected 00 00 08 01"),
        (header(3)[:6], "cut short within its header"),
        (header(0), "empty dimension"),
        (header(3) + b"ab", "cut short: 2 bytes of values, header promises 3"),
        (header(3) + b"abcd", "more values than the 3"),
        (header(2**32 - 1), "header promises 4,294,967,295 bytes"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_found(path, content, found):
    path.write_bytes(gzip.compress(content))
    with pytest.raises(IdxError) as caught:
        idx.read(path, ndim=1)
    assert str(caught.value).startswith(f"{path}: ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(header(3) + b"abc")[:-9]]
)
def test_a_file_that_is_no_whole_gzip_is_named(path, content):
    path.write_bytes(content)
    with pytest.raises(IdxError, match=r"labels\.gz: "):
        idx.read(path, ndim=1)


def test_a_missing_file_is_named(path):
    with pytest.raises(IdxError, match=r"labels.gz: No such file"):
        idx.read(path, ndim=1)


@settings(deadline=None)  # a disk may be slow
@given(st.data())
def test_no_damage_goes_unnoticed_or_ends_in_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("idx") / "labels.gz"
    whole = Array((40,), data.draw(st.binary(min_size=40, max_size=40)))
    idx.write(path, whole)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)
    with contextlib.suppress(IdxError):
        assert idx.read(path, ndim=1) == whole  # a flip in gzip's own fields: name, time
