"""Stored results of notebook 10: attributions, sums of integrated gradients, and parts of the network switched off."""

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birefnet_lite.course.picture import INK, QUIET, Picture, card

__all__ = ["RESULTS", "StoredAttribution", "convergence_plot", "stored_ablation", "stored_attribution", "stored_map"]

RESULTS = Path(str(resources.files("birefnet_lite") / "course" / "attributions.npz"))


class StoredAttribution(NamedTuple):
    """Integrated gradients of one prediction of `nano`, by `benchmarks/attributions.py`."""

    gain: float
    """The score's gain from the baseline to the photo."""
    steps: NDArray[np.int64]
    sums: NDArray[np.float64]
    """The sum of the attribution for each number of steps."""
    map: NDArray[np.float32]
    """The shares with the most steps, (H, W), summed over the colours."""

    @property
    def error(self) -> float:
        """How far the last sum is from the gain, as a fraction of the gain."""
        return abs(float(self.sums[-1]) / self.gain - 1)


def stored_attribution(name: str) -> StoredAttribution:
    """Load what was computed for the photo `"coffee"` or `"astronaut"`.

    Raises:
        ValueError: There is no such photo in the file.
        FileNotFoundError: The file is missing.
    """
    shares, gain, steps, sums = _read(
        (f"{name} map", f"{name} gain", "steps", f"{name} sums"),
        f"There is no attribution for {name!r}; there are 'coffee' and 'astronaut'.",
    )
    return StoredAttribution(float(gain), steps, sums, shares.astype(np.float32))


def stored_map(method: str) -> NDArray[np.float32]:
    """Load which pixels (H, W) speak for the mask of the photo `"coffee"` by one method of `analysis.attribution`.

    Raises:
        ValueError: There is no such method in the file.
        FileNotFoundError: The file is missing.
    """
    key = "coffee map" if method == "integrated gradients" else f"coffee {method}"
    (found,) = _read((key,), f"There is no map by {method!r}.")
    return found.astype(np.float32)


def stored_ablation(variant: str) -> NDArray[np.float64]:
    """Load how the S-measure of each of the course's photos changes when parts of the trained `nano` are switched off.

    Args:
        variant: As in the runs without a part: `"no inward reference"`, `"no outward reference"` or `"one scale"`.

    Raises:
        ValueError: There is no such variant in the file.
        FileNotFoundError: The file is missing.
    """
    (found,) = _read((f"ablation: {variant}",), f"There is no result for {variant!r}.")
    return found


def _read(keys: tuple[str, ...], missing: str) -> list[NDArray]:
    """Read arrays of the file by their keys, the others left alone; without the first, `missing` is the error."""
    if not RESULTS.is_file():
        raise FileNotFoundError("There are no attributions. `python benchmarks/attributions.py` makes them.")
    with np.load(RESULTS, allow_pickle=False) as found:
        if keys[0] not in found:
            raise ValueError(missing)
        return [found[key] for key in keys]


def convergence_plot(names: tuple[str, ...] = ("coffee", "astronaut")) -> Picture:
    """Draw what share of the gain integrated gradients account for, over the number of steps."""
    figure = card(8, 3.4)
    axes = figure.add_axes((0.1, 0.18, 0.86, 0.76))
    axes.set_facecolor("none")
    axes.axhspan(95, 105, color="#2f6d1a", alpha=0.15, linewidth=0)
    axes.axhline(100, color=QUIET, linewidth=1)
    said = []
    for name, colour, mark in zip(names, ("#1d6f8c", "#a83a20"), "os", strict=False):
        stored = stored_attribution(name)
        shares = 100 * stored.sums / stored.gain
        axes.plot(stored.steps, shares, color=colour, marker=mark, label=name)
        said.append(f"{name}: " + ", ".join(f"{s} steps {p:.0f} %" for s, p in zip(stored.steps, shares, strict=True)))
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(stored_attribution(names[0]).steps), [str(s) for s in stored_attribution(names[0]).steps])
    axes.set_xlabel("steps", color=INK)
    axes.set_ylabel("sum of the shares, % of the gain", color=INK)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return Picture.of(figure, "Sum of the shares as a part of the score's gain. " + "; ".join(said) + ".")
