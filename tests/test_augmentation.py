import pytest
import torch
from torch.nn.functional import interpolate

from defaults import augment_params
from mnist_lstm.training.augmentation import (
    _KNOTS,
    OF_IMAGES,
    _elastic,
    augment,
    strength_at,
)


@pytest.fixture
def dots():
    """2,000 images of 29 x 29, each with a dot, 3 pixels wide, 8 right of its middle."""
    torch.manual_seed(0)
    x = torch.zeros(2000, 29, 29)
    x[:, 13:16, 21:24] = 1
    return x


def distorted(x, share=1.0, **amplitudes):
    """Return images ``x`` as augmented by the ``share`` of ``amplitudes``."""
    return augment(x, augment_params(**amplitudes), torch.tensor(share))


def centres(x):
    """Return where the mass of each image [N x L x Q] lies: right and below its middle."""
    mass = x.sum((1, 2))
    below = (x.sum(2) * torch.arange(-14, 15)).sum(1) / mass
    right = (x.sum(1) * torch.arange(-14, 15)).sum(1) / mass
    return right, below


def test_sequences_get_noise_of_the_deviation_that_is_asked_for():
    torch.manual_seed(0)
    noisy = distorted(torch.ones(200, 30, 4), share=0.5, noise=0.2)
    assert noisy.mean() == pytest.approx(1, abs=0.005)
    assert noisy.std() == pytest.approx(0.1, rel=0.05)
    assert len({*noisy[:, 0, 0].tolist()}) == 200


def test_without_amplitudes_nothing_is_changed_or_drawn(dots):
    before = torch.get_rng_state()
    assert distorted(dots, fade=0.5) is dots
    assert torch.equal(torch.get_rng_state(), before)


def test_a_turn_is_of_the_degrees_asked_for_either_way(dots):
    right, below = centres(distorted(dots, rotation=30))
    angles = torch.atan2(below, right).rad2deg()
    assert -30.2 < angles.min() < -29.5
    assert 29.5 < angles.max() < 30.2
    assert angles.mean().abs() < 2  # 5 standard errors of a uniform: 17.3 / 2000**.5
    torch.testing.assert_close(
        torch.hypot(right, below), torch.full((2000,), 8.0), rtol=0.02, atol=0
    )


def test_a_shift_is_of_the_share_of_the_size_each_way(dots):
    right, below = centres(distorted(dots, shift=0.1))
    assert 2.8 < (right - 8).abs().max() < 2.91
    assert 2.8 < below.abs().max() < 2.91


def test_a_scale_moves_what_lies_off_the_middle_and_a_shear_slides_rows(dots):
    right, below = centres(distorted(dots, scale=0.25))
    assert 8 / 1.28 < right.min() < 8 / 1.23
    assert 8 / 0.74 > right.max() > 8 / 0.77
    assert below.abs().max() < 0.1
    right, below = centres(distorted(dots.mT, shear=0.25))  # 8 below the middle
    assert 1.9 < right.abs().max() < 2.1
    torch.testing.assert_close(below, torch.full((2000,), 8.0), rtol=0.02, atol=0)


def test_an_elastic_field_is_pytorchs_bicubic_one():
    size = length, q = 20, 31
    torch.manual_seed(0)
    field = _elastic(torch.zeros(5, *size), 0.7, torch.ones(()))
    torch.manual_seed(0)
    knots = torch.randn(5, 2, _KNOTS, _KNOTS)
    smooth = interpolate(knots, size, mode="bicubic", align_corners=True)
    pixels = torch.tensor([2 * 0.7 / q, 2 * 0.7 / length])
    torch.testing.assert_close(field, smooth.permute(0, 2, 3, 1) * pixels)


def test_it_keeps_what_a_batch_is_and_draws_each_image_anew():
    x = torch.rand(7, 20, 28)
    augmented = distorted(x, rotation=15, scale=0.15, shear=0.2, shift=0.1, elastic=0.5)
    assert augmented.shape == x.shape
    assert augmented.dtype == x.dtype
    assert 0 <= augmented.min() <= augmented.max() <= 1
    turned = distorted(x[:1].expand(7, -1, -1), rotation=5)
    assert len(turned.unique(dim=0)) == 7


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_share_of_an_amplitude_is_that_much_of_it(dots, name):
    torch.manual_seed(1)
    half = distorted(dots[:50], 0.5, **{name: 0.5})
    torch.manual_seed(1)
    torch.testing.assert_close(half, distorted(dots[:50], **{name: 0.25}))
    assert not torch.equal(half, dots[:50])


def test_it_fades_in_a_line_over_the_last_of_the_steps():
    shares = [strength_at(augment_params(fade=0.4), step, 10) for step in range(10)]
    assert shares == [1] * 7 + [0.75, 0.5, 0.25]
    assert {strength_at(augment_params(), step, 10) for step in range(10)} == {1}
