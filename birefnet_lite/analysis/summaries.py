"""All channels of a layer in one picture: PCA as colours, norm, segments by k-means, similarity to one cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["Basis", "colours_of", "fit_basis", "norm_of", "segments_of", "similarity_of"]

Floats = NDArray[np.float32]
SAMPLED = 4096  # cells from which k-means learns its centres


@dataclass(frozen=True)
class Basis:
    """The principal components of the channels of one layer, for one or several sets of maps."""

    mean: NDArray[np.float64]
    """(C,)."""
    components: NDArray[np.float64]
    """(k, C), orthonormal, the one that explains most first; the largest entry of each is positive."""
    explained: NDArray[np.float64]
    """(k,): the share of the variance that each explains."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """(k,): the 1st and 99th percentile of the projections, between which colours run from 0 to 255."""

    def project(self, maps: Floats) -> Floats:
        """Project maps (C, h, w) on the components: (k, h, w). Values that are not finite count as 0."""
        components = self.components.astype(np.float32)
        projected = components @ _flatten(maps) - (self.components @ self.mean).astype(np.float32)[:, None]
        return projected.reshape(-1, *maps.shape[1:])

    def colours(self, projected: Floats) -> NDArray[np.uint8]:
        """Draw projections (k, h, w) as a picture (h, w, 3): the first three components as red, green and blue."""
        low, spread = self.low[:3, None, None], np.maximum(self.high - self.low, 1e-12)[:3, None, None]
        shares = np.clip((projected[:3] - low) / spread, 0, 1)
        picture = np.full((3, *projected.shape[1:]), 0.5)
        picture[: len(shares)] = shares
        return np.floor(picture.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)


def fit_basis(several: Sequence[Floats], count: int = 3) -> Basis:
    """The principal components of maps (C, h, w) of one layer: of one photo, or of several that are to be compared.

    Values that are not finite count as 0. A layer of fewer channels than `count` has fewer components. Sums over cells
    are in float32, the decomposition in float64.
    """
    flat = np.concatenate([_flatten(maps) for maps in several], axis=1)  # (C, n)
    mean = flat.mean(axis=1, dtype=np.float64)
    centred = flat - mean[:, None].astype(np.float32)
    channels, cells = centred.shape
    count = min(count, channels, cells)
    wide = channels > cells  # the other side of the same decomposition is smaller then
    products = (centred.T @ centred if wide else centred @ centred.T).astype(np.float64)
    values, vectors = eigh(products, subset_by_index=(len(products) - count, len(products) - 1))
    components = vectors[:, ::-1].T  # (k, C), or (k, n) where wide
    if wide:
        components = components @ centred.T
        components /= np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-12)
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1, 1)
    total = max(float(products.trace()), 1e-30)
    projected = components.astype(np.float32) @ centred  # (k, n)
    low, high = np.percentile(projected, (1, 99), axis=1)
    return Basis(mean, components, np.clip(values[::-1], 0, None) / total, low, high)


def colours_of(maps: Floats, basis: Basis) -> NDArray[np.uint8]:
    """Maps (C, h, w) as a picture (h, w, 3): the first three components as red, green and blue."""
    return basis.colours(basis.project(maps))


def _flatten(maps: Floats) -> Floats:
    """Maps (C, h, w) as rows of finite numbers (C, h w)."""
    flat = maps.reshape(len(maps), -1).astype(np.float32, copy=False)
    return flat if np.isfinite(flat.sum()) else np.nan_to_num(flat, posinf=0, neginf=0)


def norm_of(maps: Floats) -> Floats:
    """The Euclidean norm over channels: (C, h, w) to (1, h, w)."""
    return np.sqrt(np.einsum("chw,chw->hw", maps, maps, dtype=np.float64))[None].astype(np.float32)


def similarity_of(maps: Floats, row: int, column: int) -> Floats:
    """The cosine of each cell's channels with those of one cell, -1 to 1: (C, h, w) to (h, w). 0 for empty cells."""
    flat = maps.astype(np.float64)
    chosen = flat[:, row, column]
    size = np.linalg.norm(flat, axis=0) * np.linalg.norm(chosen)
    products = np.einsum("chw,c->hw", flat, chosen)
    return np.divide(products, size, out=np.zeros(products.shape), where=size > 0).astype(np.float32)


def segments_of(projected: Floats, count: int, rounds: int = 12) -> NDArray[np.intp]:
    """Cells grouped by k-means, largest group first: projections (k, h, w) to numbers (h, w) from 0 to `count` - 1.

    The centres are learned from at most twice `SAMPLED` cells. They start far from one another, always in the same way.
    """
    points = projected.reshape(len(projected), -1)  # (k, n)
    sample = points[:, :: max(1, points.shape[1] // SAMPLED)].astype(np.float64)
    middle = sample.mean(axis=1, keepdims=True)
    placed = sample[:, [np.linalg.norm(sample - middle, axis=0).argmin()]]  # (k, 1)
    while placed.shape[1] < count:
        apart = [((sample - centre[:, None]) ** 2).sum(axis=0) for centre in placed.T]
        placed = np.column_stack([placed, sample[:, np.min(apart, axis=0).argmax()]])
    groups = np.zeros(0, np.intp)
    for _ in range(rounds):
        before, groups = groups, _nearest(sample, placed)
        if np.array_equal(before, groups):
            break
        for i in range(count):
            if (inside := groups == i).any():
                placed[:, i] = sample[:, inside].mean(axis=1)
    groups = _nearest(points, placed.astype(points.dtype))
    order = np.argsort(-np.bincount(groups, minlength=count), kind="stable")
    return np.argsort(order)[groups].reshape(projected.shape[1:])


def _nearest(points: NDArray[np.floating], centres: NDArray[np.floating]) -> NDArray[np.intp]:
    """The nearest of the centres (k, count) to each of the points (k, n), as numbers (n,)."""
    return ((centres**2).sum(axis=0)[:, None] - 2 * centres.T @ points).argmin(axis=0)
