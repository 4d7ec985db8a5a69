import gzip
import math
import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lstm import idx
from mnist_lstm.idx import Array
from mnist_lstm.plumbing.errors import IdxError


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
        (header(2**26 + 1), "header promises 67,108,865 bytes"),
        (header(3) + bytes(2**24), "more values than the 3"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_found(path, content, found):
    path.write_bytes(gzip.compress(content))
    with pytest.raises(IdxError) as caught:
        idx.read(path, ndim=1)
    assert str(caught.value).startswith(f"{path}: ")
    assert found in str(caught.value)


WHOLE = gzip.compress(header(3) + b"abc", mtime=0)
EMPTY = gzip.compress(b"", mtime=0)
NOTHING = b"\0\0\0\xff\xff"  # a block of deflate with nothing in it


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a gzip file: starts with nothing"),
        (b"<!doctype html><title>Sign in</title>", "not a gzip file: starts with 3c 21"),
        (header(3) + b"abc", "not a gzip file: starts with 00 00 08 01"),
        (WHOLE + b"more", "damaged gzip data (more bytes after its end)"),
        (WHOLE + WHOLE, "damaged gzip data (more bytes after its end)"),
        (WHOLE + EMPTY * 1_500_000, "damaged gzip data (more bytes after its end)"),
        (WHOLE[:10] + NOTHING * 13_000_000 + WHOLE[10:], None),
        (WHOLE[:-9], "damaged gzip data (cut short)"),
    ],
    ids=range(8),
)
def test_what_is_no_whole_gzip_is_named_and_nothing_takes_long(path, content, found):
    path.write_bytes(content)
    began = time.process_time()
    if found:
        with pytest.raises(IdxError) as caught:
            idx.read(path, ndim=1)
        assert str(caught.value).startswith(f"{path}: {found}")
    else:
        assert idx.read(path, ndim=1) == Array((3,), b"abc")
    assert time.process_time() - began < 4


def test_a_huge_file_is_refused_before_it_is_read(path):
    path.write_bytes(WHOLE)
    os.truncate(path, 2**34)
    with pytest.raises(IdxError, match=r"17,179,869,184 bytes are more than the 134,217,7"):
        idx.read(path, ndim=1)


def test_terabytes_are_refused_before_they_are_allocated(path):
    path.write_bytes(gzip.compress(header(2**20, 2**10, 2**10)))
    with pytest.raises(IdxError, match="header promises 1,099,511,627,776 bytes"):
        idx.read(path, ndim=3)


def test_cut_at_any_byte_it_is_refused(path):
    for n in range(len(WHOLE)):
        path.write_bytes(WHOLE[:n])
        with pytest.raises(IdxError):
            idx.read(path, ndim=1)


def test_no_flipped_bit_changes_a_value_unnoticed(path):
    refused = 0
    for i in range(8 * len(WHOLE)):
        content = bytearray(WHOLE)
        content[i // 8] ^= 1 << i % 8
        path.write_bytes(content)
        try:  # bits of gzip's own fields (name, time) change no value
            assert idx.read(path, ndim=1) == Array((3,), b"abc")
        except IdxError:
            refused += 1
    assert refused > 6 * len(WHOLE)


def test_a_missing_file_is_named(path):
    with pytest.raises(IdxError, match=r"labels.gz: No such file"):
        idx.read(path, ndim=1)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)  # a disk may be slow
def test_any_array_comes_back_as_it_was_written(tmp_path_factory, shape, random):
    path = tmp_path_factory.mktemp("idx") / "images.gz"
    array = Array(tuple(shape), random.randbytes(math.prod(shape)))
    idx.write(path, array)
    assert idx.read(path, len(shape)) == array
