"""Pictures of all channels at once, against NumPy's own decompositions and plain loops."""

import numpy as np
import pytest

from birefnet_lite.analysis.summaries import colours_of, fit_basis, norm_of, segments_of, similarity_of


def random_maps(channels, height, width, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(channels, 4)) @ (rng.normal(size=(4, height * width)) * [[5], [3], [2], [0.1]])
    return (mixed + rng.normal(size=(channels, 1))).reshape(channels, height, width).astype(np.float32)


@pytest.mark.parametrize("shape", [(12, 7, 9), (60, 4, 5)])
def test_components_are_those_of_a_singular_value_decomposition(shape):
    maps = random_maps(*shape)
    flat = maps.reshape(shape[0], -1).astype(np.float64)
    left, sizes, _ = np.linalg.svd(flat - flat.mean(axis=1, keepdims=True), full_matrices=False)
    basis = fit_basis([maps])
    assert np.abs((basis.components * left[:, :3].T).sum(axis=1)) == pytest.approx(1, abs=1e-6)
    assert basis.explained == pytest.approx(sizes[:3] ** 2 / (sizes**2).sum(), abs=1e-6)
    assert all(row[np.abs(row).argmax()] > 0 for row in basis.components)


def test_two_photos_share_a_basis_and_its_colours():
    first, second = random_maps(8, 6, 6), random_maps(8, 3, 9, seed=1)
    basis = fit_basis([first, second])
    alike = np.concatenate([first, first], axis=2)
    np.testing.assert_array_equal(colours_of(alike, basis)[:, :6], colours_of(first, basis))
    assert colours_of(second, basis).shape == (3, 9, 3)


def test_norms_and_cosines_against_a_loop():
    maps = random_maps(5, 3, 4)
    maps[:, 2, 3] = 0
    norms, cosines = norm_of(maps)[0], similarity_of(maps, 1, 2)
    for y, x in np.ndindex(3, 4):
        a, b = maps[:, y, x].astype(float), maps[:, 1, 2].astype(float)
        assert norms[y, x] == pytest.approx(np.sqrt((a**2).sum()), abs=1e-4)
        size = np.sqrt((a**2).sum() * (b**2).sum())
        assert cosines[y, x] == pytest.approx((a @ b) / size if size else 0, abs=1e-3)
    assert cosines[1, 2] == pytest.approx(1)


def test_segments_find_groups_that_are_there_and_name_the_largest_first():
    maps = np.zeros((2, 10, 10), np.float64)
    maps[0, :, 7:], maps[1, :2] = 9, 5
    maps += np.random.default_rng(0).normal(0, 0.1, maps.shape)
    found = segments_of(maps, 4)
    expected = (np.arange(10) >= 7)[None, :] + 2 * (np.arange(10) < 2)[:, None]
    for group in range(4):
        assert len(np.unique(expected[found == group])) == 1
    sizes = np.bincount(found.ravel())
    assert list(sizes) == sorted(sizes, reverse=True)


def test_odd_layers_have_pictures_too():
    for maps in (
        np.ones((1, 1, 1), np.float32),
        np.full((5, 2, 2), np.nan, np.float32),
        np.zeros((2, 4, 4), np.float32),
    ):
        basis = fit_basis([maps])
        assert colours_of(maps, basis).shape == (*maps.shape[1:], 3)
        assert segments_of(basis.project(np.nan_to_num(maps)), 3).shape == maps.shape[1:]
