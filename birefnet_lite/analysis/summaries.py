"""All channels of a layer in one picture: PCA as colours, norm, segments by k-means, similarity to one cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    def project(self, maps: Floats) -> NDArray[np.float64]:
        """Maps (C, h, w) to their projections (k, h, w)."""
        flat = maps.reshape(maps.shape[0], -1).astype(np.float64)  # (C, n)
        return (self.components @ (flat - self.mean[:, None])).reshape(-1, *maps.shape[1:])


def fit_basis(several: Sequence[Floats], count: int = 3) -> Basis:
    """The principal components of maps (C, h, w) of one layer: of one photo, or of several that are to be compared.

    Values that are not finite count as 0. A layer of fewer channels than `count` has fewer components.
    """
    flat = np.concatenate([np.nan_to_num(x.reshape(x.shape[0], -1), posinf=0, neginf=0) for x in several], axis=1)
    flat = flat.astype(np.float64)  # (C, n)
    mean = flat.mean(axis=1)
    centred = flat - mean[:, None]
    channels, cells = centred.shape
    count = min(count, channels, cells)
    if channels <= cells:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        components = vectors[:, ::-1][:, :count].T  # (k, C)
    else:  # the other side of the same decomposition is smaller
        values, vectors = np.linalg.eigh(centred.T @ centred)
        components = (centred @ vectors[:, ::-1][:, :count]).T
        components /= np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-12)
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1, 1)
    total = max(float((centred**2).sum()), 1e-30)
    projected = components @ centred  # (k, n)
    low, high = np.percentile(projected, (1, 99), axis=1)
    return Basis(mean, components, np.clip(values[::-1][:count], 0, None) / total, low, high)


def colours_of(maps: Floats, basis: Basis) -> NDArray[np.uint8]:
    """Maps (C, h, w) as a picture (h, w, 3): the first three components as red, green and blue."""
    projected = basis.project(np.nan_to_num(maps, posinf=0, neginf=0))[:3]  # (k, h, w)
    spread = np.maximum(basis.high - basis.low, 1e-12)[:3, None, None]
    shares = np.clip((projected - basis.low[:3, None, None]) / spread, 0, 1)
    picture = np.full((3, *maps.shape[1:]), 0.5)
    picture[: len(shares)] = shares
    return np.floor(picture.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)


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


def segments_of(projected: NDArray[np.float64], count: int, rounds: int = 12) -> NDArray[np.intp]:
    """Cells grouped by k-means, largest group first: projections (k, h, w) to numbers (h, w) from 0 to `count` - 1.

    The centres start far from one another, always in the same way.
    """
    points = projected.reshape(projected.shape[0], -1).T  # (n, k)
    sample = points[:: max(1, len(points) // SAMPLED)]
    centres = [sample[np.linalg.norm(sample - sample.mean(axis=0), axis=1).argmin()]]
    while len(centres) < count:
        nearest = np.min([((sample - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
        centres.append(sample[nearest.argmax()])
    placed = np.array(centres)
    for _ in range(rounds):
        groups = _nearest(sample, placed)
        for i in range(count):
            if (inside := groups == i).any():
                placed[i] = sample[inside].mean(axis=0)
    groups = _nearest(points, placed)
    order = np.argsort(-np.bincount(groups, minlength=count), kind="stable")
    return np.argsort(order)[groups].reshape(projected.shape[1:])


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    return ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
