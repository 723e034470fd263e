"""Random numbers for a group of scenes, from a key: the same key gives the same numbers, whatever came before."""

import hashlib
import random
from collections.abc import Sequence

import torch
from torch import Tensor


class RandomNumbers:
    """Random numbers for `n` scenes that are drawn together.

    Two generators are seeded by one key: `structure` (Python's `random`) for what all scenes of the group share, such
    as the number of spokes, and `generator` (PyTorch's) for numbers that differ between scenes.

    Args:
        n: Number of scenes.
        key: Values whose `repr` is different for every group: seed, step, purpose.
        device: Device of the tensors.
    """

    def __init__(self, n: int, key: tuple, device: torch.device | str = "cpu"):
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        self.n = n
        self.key = key
        self.device = torch.device(device)
        self.structure = random.Random(number)
        self.generator = torch.Generator(self.device).manual_seed(number % 2**63)

    def uniform(self, low: float, high: float) -> Tensor:
        """Uniform numbers (n, 1, 1), which broadcast with a grid (n, H, W)."""
        return torch.rand(self.n, 1, 1, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        """Normal numbers (n, 1, 1)."""
        return torch.randn(self.n, 1, 1, generator=self.generator, device=self.device) * spread + mean

    def many(self, count: int, low: float, high: float) -> Tensor:
        """Uniform numbers (n, count, 1, 1), for `count` strokes or leaves at once."""
        return torch.rand(self.n, count, 1, 1, generator=self.generator, device=self.device) * (high - low) + low

    def coin(self, chance: float) -> Tensor:
        """1 with this probability, else 0: (n, 1, 1)."""
        return (self.uniform(0, 1) < chance).float()

    def sign(self) -> Tensor:
        """-1 or 1: (n, 1, 1)."""
        return self.coin(0.5) * 2 - 1

    def field(self, *shape: int) -> Tensor:
        """Standard normal numbers (n, *shape)."""
        return torch.randn(self.n, *shape, generator=self.generator, device=self.device)

    def integer(self, low: int, high: int) -> int:
        """One integer from low to high, both included, for the group."""
        return self.structure.randint(low, high)

    def flag(self, chance: float) -> bool:
        """True with this probability, for the group."""
        return self.structure.random() < chance

    def pick(self, choices: Sequence, weights: Sequence[float] | None = None):
        """One of the choices for the group."""
        return self.structure.choices(choices, weights)[0]
