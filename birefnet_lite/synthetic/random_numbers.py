"""Random numbers for a group of scenes, independent of what was drawn before."""

import hashlib
import random
from collections.abc import Sequence

import torch
from torch import Tensor


class RandomNumbers:
    """Random numbers for `n` scenes drawn together.

    Two streams come from one key. `structure` (Python's random) decides what all scenes of the group share, such as the
    number of spokes: it costs no transfer from the device. `generator` gives every scene numbers of its own.

    key: any values whose `repr` tells this group from every other one (seed, step, purpose).
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
        """(n, 1, 1) numbers between low and high; broadcasts with a grid (n, H, W)."""
        return torch.rand(self.n, 1, 1, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        """(n, 1, 1) normal numbers."""
        return torch.randn(self.n, 1, 1, generator=self.generator, device=self.device) * spread + mean

    def many(self, count: int, low: float, high: float) -> Tensor:
        """(n, count, 1, 1) numbers between low and high, for `count` strokes or leaves at once."""
        return torch.rand(self.n, count, 1, 1, generator=self.generator, device=self.device) * (high - low) + low

    def coin(self, chance: float) -> Tensor:
        """(n, 1, 1) of 1 with this chance, else 0."""
        return (self.uniform(0, 1) < chance).float()

    def sign(self) -> Tensor:
        """(n, 1, 1) of -1 or 1."""
        return self.coin(0.5) * 2 - 1

    def field(self, *shape: int) -> Tensor:
        """(n, *shape) standard normal numbers."""
        return torch.randn(self.n, *shape, generator=self.generator, device=self.device)

    def integer(self, low: int, high: int) -> int:
        """One whole number from low to high, both included, for the group."""
        return self.structure.randint(low, high)

    def flag(self, chance: float) -> bool:
        """One yes or no for the group."""
        return self.structure.random() < chance

    def pick(self, choices: Sequence, weights: Sequence[float] | None = None):
        """One of the choices for the group."""
        return self.structure.choices(choices, weights)[0]
