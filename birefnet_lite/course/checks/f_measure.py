"""Check of the exercise on the F-measure, precision and recall in one number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry

__all__ = ["f_measure"]


@check("Right, at every threshold, and where nothing is found.")
def f_measure(answer: Callable[..., Any]) -> None:
    """`f_measure(prediction, mask, threshold, beta_squared)`: the F-measure of the pixels that reach the threshold."""
    cases = [(7, 9, 0.5, 0.3), (16, 5, 0.25, 0.3), (8, 8, 0.625, 2.0), (1, 12, 0.375, 1.0)]
    for height, width, threshold, beta_squared in cases:
        mask = torch.rand(height, width) < 0.6
        # Eighths, so that some pixels lie on the threshold itself; nearer to 1 inside the mask.
        prediction = ((torch.rand(height, width) + 0.4 * mask).clamp(max=1) * 8).round() / 8
        prediction[0, :2], mask[0, :2] = threshold, torch.tensor([True, False])
        where = f"For {height} x {width} pixels, threshold={threshold} and beta_squared={beta_squared}"
        got = _number(answer(prediction.clone(), mask.clone(), threshold, beta_squared), where)
        wanted = _score(prediction >= threshold, mask, beta_squared)
        mistakes = _mistakes_of_score(prediction, mask, threshold, beta_squared)
        mistakes = {said: value for said, value in mistakes.items() if value != wanted}
        compare(got, wanted, where, 1e-5, mistakes, _steps_of_score(prediction, mask, threshold, beta_squared))
    empty = torch.zeros(4, 6)
    some = torch.zeros(4, 6, dtype=torch.bool)
    some[1:3, 2:5] = True
    for prediction, mask, where in (
        (empty, some, "Where no pixel reaches the threshold"),
        (empty + 0.9, ~some & some, "Where the mask is empty"),
        ((~some).float(), some, "Where no chosen pixel is in the mask"),
    ):
        got = _number(answer(prediction, mask, 0.5, 0.3), where)
        if torch.isnan(got):
            raise Wrong(f"{where}, the result is NaN: 0 / 0. Nothing is hit, so the score is 0. Guard the division.")
        if abs(got.item()) > 1e-5:
            raise Wrong(f"{where}, the score should be 0: no pixel is both chosen and in the mask. Yours is {got:.3g}.")


def _number(got: Any, where: str) -> Tensor:
    if got is None:
        raise Wrong(f"{where}, your function gives NoneType and not a number. Is there a `return`?")
    if isinstance(got, np.ndarray | tuple | list):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not a number: give one value for the mask.")
    if isinstance(got, bool) or not isinstance(got, int | float | np.number | Tensor):
        raise Wrong(f"{where}, your function gives {type(got).__name__} and not a number.")
    got = torch.as_tensor(got).float()
    if got.numel() != 1:
        raise Wrong(
            f"{where}, the result has the shape {tuple(got.shape)}. It should be one number for the whole mask."
        )
    return got.reshape(())


def _score(chosen: Tensor, mask: Tensor, beta_squared: float) -> Tensor:
    """The F-measure from counts, without precision and recall; `chosen` and `mask` may be soft."""
    chosen, mask = chosen.double(), mask.double()
    hits = (chosen * mask).sum()
    wrong = beta_squared * (mask.sum() - hits) + chosen.sum() - hits
    return (1 + beta_squared) * hits / ((1 + beta_squared) * hits + wrong)


def _steps_of_score(prediction: Tensor, mask: Tensor, threshold: float, b: float) -> tuple[Retry, ...]:
    chosen = prediction >= threshold
    hits = (chosen & mask).sum().double()

    def of_pixels(**x: Tensor) -> Tensor:
        prediction, mask = x.values()
        return _score(prediction >= threshold, mask > 0.5, b)

    def of_counts(**x: Tensor) -> Tensor:
        hits, chosen, wanted, b = x.values()
        return (1 + b) * hits / (b * wanted + chosen)

    def of_shares(**x: Tensor) -> Tensor:
        precision, recall, b = x.values()
        return (1 + b) * precision * recall / (b * precision + recall)

    b_, some, all_ = torch.tensor(b, dtype=torch.float64), chosen.sum().double(), mask.sum().double()
    return (
        Retry(of_pixels, {"prediction": prediction, "mask": mask.float()}),
        Retry(of_shares, {"the precision": hits / some, "the recall": hits / all_, "beta_squared": b_}),
        Retry(of_counts, {"the hits": hits, "the chosen pixels": some, "the mask's pixels": all_, "beta_squared": b_}),
    )


def _mistakes_of_score(prediction: Tensor, mask: Tensor, threshold: float, b: float) -> dict[str, Tensor]:
    chosen = prediction >= threshold
    hits = (chosen & mask).sum().double()
    precision, recall = hits / chosen.sum(), hits / mask.sum()
    product = precision * recall
    return {
        "A pixel whose value is the threshold itself is not counted. Choose what is at least the threshold, >=.": (
            _score(prediction > threshold, mask, b)
        ),
        "The prediction is not cut at the threshold. Choose pixels first: prediction >= threshold.": (
            _score(prediction, mask, b)
        ),
        "beta_squared is the square already; you square it again.": _score(chosen, mask, b * b),
        "beta_squared is not used, or is 1: this is the plain F1 score.": _score(chosen, mask, 1.0),
        "beta_squared is fixed to 0.3. Use the argument.": _score(chosen, mask, 0.3),
        "Precision and recall have changed places: in the denominator, beta_squared multiplies precision.": (
            (1 + b) * product / (precision + b * recall)
        ),
        "The factor in front is beta_squared. It is 1 + beta_squared.": b * product / (b * precision + recall),
        "The factor 1 + beta_squared is missing.": product / (b * precision + recall),
        "The hits are sums of the prediction. Choose pixels first, and count those that are chosen and in the mask.": (
            _from_hits((prediction * mask).double().sum(), chosen, mask, b)
        ),
        "The hits count right background pixels, too. A hit is chosen and in the mask: `&`, and not `==`.": (
            _from_hits((chosen == mask).double().sum(), chosen, mask, b)
        ),
        "The hits are the pixels in which the two differ. A hit is chosen and in the mask: `&`, and not `^`.": (
            _from_hits((chosen ^ mask).double().sum(), chosen, mask, b)
        ),
        "The denominator lacks its parentheses: beta_squared * precision + recall is one number.": (
            (1 + b) * product / b * precision + recall
        ),
        "The prediction is compared with 255 times the threshold. Both are in 0 to 1.": (
            torch.zeros((), dtype=torch.float64)
        ),
        "This is the precision alone.": precision,
        "This is the recall alone.": recall,
        "This is the intersection over union.": hits / (chosen | mask).sum(),
        "This is the share of right pixels, which counts the background too.": (chosen == mask).double().mean(),
        "This scores the pixels below the threshold.": _score(~chosen, mask, b),
        "This scores the background: mask and prediction are inverted.": _score(~chosen, ~mask, b),
        "A pixel is chosen where it is at most the threshold. Choose what is at least the threshold, >=.": (
            _score(prediction <= threshold, mask, b)
        ),
        "A pixel is chosen where it is below the threshold. Choose what is at least the threshold, >=.": (
            _score(prediction < threshold, mask, b)
        ),
        "The threshold is the prediction's mean. Use the argument.": _score(prediction >= prediction.mean(), mask, b),
        "The threshold is twice the prediction's mean. Use the argument.": (
            _score(prediction >= 2 * prediction.mean(), mask, b)
        ),
        "The prediction goes through a sigmoid. It is in 0 to 1 already.": (
            _score(prediction.sigmoid() >= threshold, mask, b)
        ),
        "The prediction is rounded. Compare it with the threshold.": _score(prediction.round() > 0.5, mask, b),
        "The hits are the pixels that are chosen or in the mask. They are both: `&`, and not `|`.": (
            _from_hits((chosen | mask).double().sum(), chosen, mask, b)
        ),
        "The hits are a share, a mean over all pixels, and are divided by counts. Count them: `.sum()`.": (
            _from_hits(hits / mask.numel(), chosen, mask, b)
        ),
        "Recall is divided by the background. Divide by mask.sum().": (
            _from_shares(precision, hits / (~mask).sum(), b)
        ),
        "Recall is divided by the union. Divide by mask.sum().": _from_shares(
            precision, hits / (chosen | mask).sum(), b
        ),
        "Precision is divided by the union. Divide by chosen.sum().": (
            _from_shares(hits / (chosen | mask).sum(), recall, b)
        ),
        "Recall is the share of the background that is chosen. It is the share of the mask: hits / mask.sum().": (
            _from_shares(precision, (chosen & ~mask).sum() / (~mask).sum(), b)
        ),
        "Precision is that of the background. It is the share of the chosen pixels that are in the mask.": (
            _from_shares((~chosen & ~mask).sum() / (~chosen).sum(), recall, b)
        ),
        "Recall is divided by the number of rows. Divide by mask.sum().": _from_shares(precision, hits / len(mask), b),
        "Precision is divided by the sum of the prediction. Divide by the number of chosen pixels.": (
            _from_shares(hits / prediction.sum(), recall, b)
        ),
        "Precision and recall are added in front, where they are multiplied.": (
            (1 + b) * (precision + recall) / (b * precision + recall)
        ),
        "beta_squared multiplies recall, too, in the denominator. It multiplies precision alone.": (
            (1 + b) * product / (b * (precision + recall))
        ),
        "beta_squared is added in the denominator. It multiplies precision.": (
            (1 + b) * product / (b + precision + recall)
        ),
        "beta_squared is squared in front: the factor is 1 + beta_squared.": (
            (1 + b**2) * product / (b * precision + recall)
        ),
        "beta_squared is squared in the denominator. It is a square already.": (
            (1 + b) * product / (b**2 * precision + recall)
        ),
        "This is in percent. Leave out the factor 100.": 100 * _score(chosen, mask, b),
        "This is 1 less the score, a loss. Give the score.": 1 - _score(chosen, mask, b),
        "The factor in front is doubled.": 2 * _score(chosen, mask, b),
        "One is added to the hits and to the mask's pixels. Leave it out, and guard against 0 apart.": (
            _from_shares(precision, (hits + 1) / (mask.sum() + 1), b)
        ),
        "One is added to the hits and to the chosen pixels. Leave it out, and guard against 0 apart.": (
            _from_shares((hits + 1) / (chosen.sum() + 1), recall, b)
        ),
        **{
            f"An epsilon of {small:g} is added to a denominator, and it shows. Leave it out; return 0 where nothing "
            f"is hit{' ' * i}.": value
            for small in (1e-2, 1e-3, 1e-4)
            for i, value in enumerate(
                (
                    _from_shares(hits / (chosen.sum() + small), recall, b),
                    _from_shares(precision, hits / (mask.sum() + small), b),
                    _from_shares(hits / (chosen.sum() + small), hits / (mask.sum() + small), b),
                    (1 + b) * product / (b * precision + recall + small),
                )
            )
        },
        "The threshold is fixed to 0.5. Use the argument.": _score(prediction >= 0.5, mask, b),
        "beta_squared has its root taken. It is the square already, and used as it is.": _score(chosen, mask, b**0.5),
        "This is the mean of precision and recall.": (precision + recall) / 2,
        "This is precision times recall.": product,
        "This is the geometric mean of precision and recall.": product.sqrt(),
        "The factor in front is 1 + beta: beta_squared has its root taken there.": (
            (1 + b**0.5) * product / (b * precision + recall)
        ),
        "The factor in front is 2, which is right for beta_squared = 1 only.": 2 * product / (b * precision + recall),
        "The denominator is precision + recall: beta_squared is missing in it.": (
            (1 + b) * product / (precision + recall)
        ),
        "This is Dice, twice the overlap over both areas: beta_squared is not used.": (
            2 * hits / (chosen.sum() + mask.sum())
        ),
        "Precision is the share of all pixels. It is the share of the chosen ones: divide by chosen.sum().": (
            (1 + b) * (hits / mask.numel()) * recall / (b * (hits / mask.numel()) + recall)
        ),
        "Recall is the share of all pixels. It is the share of the mask: divide by mask.sum().": (
            (1 + b) * precision * (hits / mask.numel()) / (b * precision + hits / mask.numel())
        ),
    }


def _from_shares(precision: Tensor, recall: Tensor, b: float) -> Tensor:
    return (1 + b) * precision * recall / (b * precision + recall)


def _from_hits(hits: Tensor, chosen: Tensor, mask: Tensor, b: float) -> Tensor:
    return _from_shares(hits / chosen.sum(), hits / mask.sum(), b)
