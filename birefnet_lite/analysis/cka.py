"""Linear centred kernel alignment: how alike two layers are, whatever the order and scale of their channels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

__all__ = ["cka_matrix", "linear_cka", "pool_cells"]


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


def cka_matrix(first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """CKA of each layer of one network with each layer of another.

    Args:
        first: For each layer (n, C): the same n cells in all layers, of one photo or several.
        second: The same for the other network.

    Returns:
        (len(first), len(second)), entries as of `linear_cka`.
    """
    grams = [np.stack([_gram(x) for x in layers]) for layers in (first, second)]
    return grams[0] @ grams[1].T


def pool_cells(maps: Tensor, cells: int) -> NDArray[np.float64]:
    """Maps (C, h, w) as features (n, C) of the same n <= `cells` cells in every layer of one photo: means over them."""
    side = max(1, int(cells**0.5))
    return adaptive_avg_pool2d(maps.double(), (side, side)).flatten(1).T.numpy()


def _gram(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inner products of all pairs of cells (n n,), of length 1; zeros where the layer is constant."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    gram = (centred @ centred.T).ravel()
    size = np.linalg.norm(gram)
    return gram / size if size > 1e-12 else np.zeros_like(gram)
