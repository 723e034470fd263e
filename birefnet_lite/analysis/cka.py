"""Linear centred kernel alignment: how alike two layers are, whatever the order and scale of their channels."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["linear_cka"]


def linear_cka(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """CKA of two sets of features of the same cells (Kornblith et al., 2019, formula 1 with linear kernels).

    Args:
        first: (n, C1): n cells, of one photo or several.
        second: (n, C2): the same cells in the other layer or network.

    Returns:
        0 (nothing in common) to 1 (equal up to rotation and scale); 0 where one of them is constant.
    """
    a, b = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (first, second))
    size = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / size) if size > 0 else 0.0
