"""Metrics of soft maps without a threshold: S-measure, weighted F-measure, MAE and MSE."""

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from birefnet_lite.metrics.pairs import EPS, check_pair


def mae(prediction: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error, scalar in [0, 1]. The mask may be a soft one: prepare it with `binarise=False`.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(mae(prediction, mask).item(), 4)
        0.0625
    """
    prediction, mask = check_pair(prediction, mask, soft_mask=True)
    return (prediction - mask.double()).abs().mean()


def mse(prediction: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error, scalar in [0, 1]. The mask may be a soft one: prepare it with `binarise=False`.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(mse(prediction, mask).item(), 4)
        0.0625
    """
    prediction, mask = check_pair(prediction, mask, soft_mask=True)
    return (prediction - mask.double()).square().mean()


def s_measure(prediction: Tensor, mask: Tensor, *, alpha: float = 0.5) -> Tensor:
    """S-measure (structural similarity of object and regions), a scalar in [0, 1] (Fan et al. 2017).

    For an empty or full mask it is 1 - mean error. It differs from the reference if the mask's centre is in the last
    row or column: a quarter then has no pixels, for which the reference returns NaN; here its weight is 0.

    Args:
        prediction: (H, W) in [0, 1].
        mask: bool (H, W).
        alpha: Weight of the object part.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(s_measure(prediction, mask).item(), 4)
        0.8521
    """
    prediction, mask = check_pair(prediction, mask)
    coverage = mask.double().mean()
    if coverage == 0:
        return 1 - prediction.mean()
    if coverage == 1:
        return prediction.mean()
    inside, outside = _object_similarity(prediction[mask]), _object_similarity(1 - prediction[~mask])
    object_part = coverage * inside + (1 - coverage) * outside
    return (alpha * object_part + (1 - alpha) * _region_part(prediction, mask)).clamp(min=0)


def _object_similarity(values: Tensor) -> Tensor:
    """Similarity of values (n,) to 1, lower for a large spread."""
    mean = values.mean()
    spread = values.std() if len(values) > 1 else torch.zeros_like(mean)
    return 2 * mean / (mean**2 + 1 + spread + EPS)


def _region_part(prediction: Tensor, mask: Tensor) -> Tensor:
    """SSIM without constants in the four quarters around the mask's centre, weighted by their area."""
    height, width = mask.shape
    rows, columns = mask.nonzero().double().mean(dim=0).round().long().tolist()
    y, x = rows + 1, columns + 1  # the centre belongs to the upper left quarter
    score = prediction.new_zeros(())
    for down in (slice(0, y), slice(y, height)):
        for across in (slice(0, x), slice(x, width)):
            part = prediction[down, across]
            if part.numel():
                score = score + part.numel() / (height * width) * _similarity(part, mask[down, across].double())
    return score


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = x.mean(), y.mean()
    n = x.numel() - 1 + EPS
    variance_x, variance_y = ((x - mean_x) ** 2).sum() / n, ((y - mean_y) ** 2).sum() / n
    covariance = ((x - mean_x) * (y - mean_y)).sum() / n
    above = 4 * mean_x * mean_y * covariance
    below = (mean_x**2 + mean_y**2) * (variance_x + variance_y)
    if above != 0:
        return above / (below + EPS)
    return torch.ones_like(above) if below == 0 else torch.zeros_like(above)


def weighted_f_measure(prediction: Tensor, mask: Tensor, *, beta_squared: float = 1.0) -> Tensor:
    """Weighted F-measure, a scalar in [0, 1] (Margolin et al. 2014); 0 for an empty mask.

    Errors in the object are smoothed over their neighbours. False alarms weigh from 1 at the object to 2 far away, 1.5
    at 5 pixels, so that the score depends on the image's size. Distances are computed by SciPy on the CPU, the rest on
    the tensors' device.

    Examples:
        >>> import torch
        >>> from birefnet_lite.metrics import prepare
        >>> mask = torch.zeros(32, 32)
        >>> mask[8:24, 8:24] = 1
        >>> prediction, mask = prepare(mask.roll(2, 1), mask, stretch=False)  # two pixels too far right
        >>> round(weighted_f_measure(prediction, mask).item(), 4)
        0.8888
    """
    prediction, mask = check_pair(prediction, mask)
    if not mask.any():
        return prediction.new_zeros(())
    distance, nearest = distance_transform_edt(~mask.cpu().numpy(), return_indices=True)
    distance = torch.from_numpy(distance).to(prediction)
    row, column = torch.from_numpy(nearest).long().to(prediction.device)  # (2, H, W)

    error = (prediction - mask.double()).abs()
    carried = error[row, column]  # each background pixel gets the error of the object pixel nearest to it
    offset = torch.arange(-3, 4, device=error.device, dtype=error.dtype)
    line = torch.exp(-(offset**2) / (2 * 5**2))
    line = line / line.sum()
    blurred = F.conv2d(carried[None, None], line.view(1, 1, -1, 1), padding=(3, 0))
    blurred = F.conv2d(blurred, line.view(1, 1, 1, -1), padding=(0, 3))[0, 0]  # (H, W)

    missed = torch.minimum(error, blurred)[mask]
    false_alarms = (error * (2 - torch.exp2(-distance / 5)))[~mask].sum()
    hits = mask.sum() - missed.sum()
    recall = 1 - missed.mean()
    precision = hits / (hits + false_alarms + EPS)
    return (1 + beta_squared) * recall * precision / (recall + beta_squared * precision + EPS)
