"""Ranking of the channels of a layer, by which the atlas sorts them."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

STATISTICS = ("lo", "hi", "mean", "max", "variance", "agreement", "detail")
SHADES, SAMPLED = 32, 32  # of a map whose detail is measured: shades, cells a side
BLOCK = 1 << 19  # numbers whose statistics are computed together: 2 MiB of float32


def channel_statistics(maps: NDArray[np.floating], mask: NDArray[np.floating] | None) -> NDArray[np.float32]:
    """Statistics by which the atlas sorts: rows are `STATISTICS`, columns the channels of `maps` (C, H, W).

    Finite values only. Agreement is the correlation (-1 to 1) with `mask`, soft (H, W); 0 for a constant map or no
    mask. Detail is the entropy, in bits, of the map drawn in 32 shades from its lowest value to its highest: from 0
    (constant) to 5 (all shades equally often), over at most 32 × 32 of its cells, evenly spaced. A few bright points on
    a dark ground, which have the largest variance, have little of it.
    """
    flat = maps.reshape(maps.shape[0], -1)  # (C, H·W)
    target = np.zeros(flat.shape[1], flat.dtype)
    spread = 0.0 if mask is None else float(np.std(mask))
    if mask is not None:
        target[:] = (np.asarray(mask, np.float64) - np.mean(mask)).reshape(-1)
    at_once = max(1, BLOCK // flat.shape[1])  # channels whose numbers fit the cache, so that they are read once
    blocks = [_moments(flat[i : i + at_once], target) for i in range(0, len(flat), at_once)]
    lo, hi, mean, variance, covariance = np.concatenate(blocks, axis=1)
    if not np.isfinite(mean).all():
        return np.stack([_finite_statistics(row, mask) for row in flat], axis=1)  # (7, C)
    deviation = np.sqrt(variance)
    level = (deviation > 1e-6 * np.maximum(np.abs(mean), 1e-30)) & (spread > 0)
    agreement = np.divide(covariance, deviation * spread, out=np.zeros_like(mean), where=level)
    step = max(1, -(-max(maps.shape[1:]) // SAMPLED))  # more cells cost time and change little
    shown = entropy(maps[:, ::step, ::step].reshape(len(maps), -1), lo, hi)
    rows = [lo, hi, mean, hi, variance, np.clip(agreement, -1, 1), shown]
    return np.stack(rows).astype(np.float32)  # (7, C)


def _moments(block: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lowest and highest value, mean, variance, and covariance with a target of mean 0: (C, N) and (N,) to (5, C)."""
    values = torch.from_numpy(np.ascontiguousarray(block))
    mean = values.mean(dim=1, keepdim=True)
    # Two passes: the one-pass formula cancels where the mean is large beside the spread.
    centred = values - mean
    variance = torch.linalg.vector_norm(centred, dim=1).double() ** 2 / block.shape[1]
    covariance = torch.mv(centred, torch.from_numpy(target)) / block.shape[1]
    return np.stack([block.min(axis=1), block.max(axis=1), mean[:, 0], variance, covariance]).astype(np.float64)


def entropy(values: NDArray[np.floating], lo: NDArray[np.floating], hi: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bits (C,) of the histogram of each row of values (C, N) over `SHADES` equal parts of its lo to hi, (C,) each."""
    low, spread = lo[:, None].astype(np.float64), (hi.astype(np.float64) - lo)[:, None]
    share = np.divide(values - low, spread, out=np.zeros(values.shape), where=spread > 0)
    shade = np.minimum((share * SHADES).astype(np.intp), SHADES - 1) + SHADES * np.arange(len(values))[:, None]
    counts = np.bincount(shade.reshape(-1), minlength=SHADES * len(values)).reshape(len(values), SHADES)
    part = counts / values.shape[1]
    return -(part * np.log2(part, out=np.zeros(part.shape), where=part > 0)).sum(axis=1)


def _finite_statistics(values: NDArray[np.floating], mask: NDArray[np.floating] | None) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(STATISTICS))
    picked = values[finite].astype(np.float64)
    agreement = 0.0
    if mask is not None:
        target = np.asarray(mask, np.float64).reshape(-1)[finite]
        if picked.std() > 0 and target.std() > 0:
            agreement = float(np.corrcoef(picked, target)[0, 1])
    lo, hi = picked.min(), picked.max()
    shown = entropy(picked[None], np.array([lo]), np.array([hi]))[0]
    return np.array([lo, hi, picked.mean(), hi, picked.var(), agreement, shown])


def rank(values: ArrayLike) -> NDArray[np.intp]:
    """Indices from the largest value to the smallest; equal values keep their order, NaN comes last."""
    values = np.asarray(values, np.float64)
    return np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
