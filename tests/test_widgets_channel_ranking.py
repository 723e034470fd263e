"""The ranking of channels: each score against NumPy, and on maps whose order is known."""

import numpy as np

from widgets.channel_ranking import STATISTICS, channel_statistics, rank


def test_statistics_against_numpy():
    random = np.random.default_rng(1)
    maps = random.normal(3, 2, (4, 6, 5)).astype(np.float32)
    maps[3] = 7
    mask = random.random((6, 5))
    statistics = dict(zip(STATISTICS, channel_statistics(maps, mask), strict=True))
    flat = maps.reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(statistics["mean"], flat.mean(1), rtol=1e-5)
    np.testing.assert_allclose(statistics["variance"], flat.var(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(statistics["lo"], flat.min(1))
    np.testing.assert_array_equal(statistics["max"], flat.max(1))
    expected = [np.corrcoef(row, mask.ravel())[0, 1] for row in flat[:3]] + [0]
    np.testing.assert_allclose(statistics["agreement"], expected, atol=1e-5)
    shares = [np.histogram(row, 32)[0] / 30 for row in flat]
    expected = [-sum(p * np.log2(p) for p in share if p) for share in shares]
    np.testing.assert_allclose(statistics["detail"], expected, atol=1e-5)


def test_detail_is_what_there_is_to_see():
    """Not how far a few points stick out: that is the variance."""
    place = np.arange(96 * 128).reshape(96, 128)
    ramp, points = place % 128, np.where(place % 500, 0, 1e4)
    maps = np.stack([points, ramp, 1e-8 * ramp - 3, 0 * ramp + 5, ramp > 63, np.where(ramp > 63, 1e18, -1e18)])
    statistics = dict(zip(STATISTICS, channel_statistics(maps, None), strict=True))
    assert statistics["variance"][0] > 100 * statistics["variance"][1]
    assert statistics["detail"][0] < 0.1
    np.testing.assert_allclose(statistics["detail"][1:], [5, 5, 0, 1, 1], atol=1e-6)


def test_statistics_leave_out_what_is_not_finite():
    maps = np.array([[[1.0, np.nan], [3.0, np.inf]], [[np.nan, np.nan], [np.nan, np.nan]]], np.float32)
    mask = np.array([[0.0, 1.0], [1.0, 1.0]])
    statistics = channel_statistics(maps, mask)
    assert np.isfinite(statistics).all()
    np.testing.assert_allclose(statistics[:, 0], [1, 3, 2, 3, 1, 1, 1])


def test_rank_is_stable_and_puts_nan_last():
    assert rank([1.0, np.nan, 3.0, 1.0, np.inf]).tolist() == [4, 2, 0, 3, 1]
