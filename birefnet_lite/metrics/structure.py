"""Metrics of the whole soft map: S-measure, weighted F-measure, mean absolute and squared error."""

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from birefnet_lite.metrics.pairs import EPS, checked


def mae(prediction: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error, scalar in [0, 1]. The mask may be a soft one: prepare it with ``binarise=False``."""
    prediction, mask = checked(prediction, mask, soft_mask=True)
    return (prediction - mask.double()).abs().mean()


def mse(prediction: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error, scalar in [0, 1]. The mask may be a soft one: prepare it with ``binarise=False``."""
    prediction, mask = checked(prediction, mask, soft_mask=True)
    return (prediction - mask.double()).square().mean()


def s_measure(prediction: Tensor, mask: Tensor, *, alpha: float = 0.5) -> Tensor:
    """S-measure, scalar in [0, 1]: is the structure alike, as an object and by region? (Fan et al. 2017.)

    ``alpha`` is the object part's share. With an empty or a full mask it is 1 - mean error. One difference from the
    reference: where the mask's centre is in the last row or column, a quarter has no pixels; the reference then gives
    NaN, here that quarter counts nothing, as its weight of 0 says.
    """
    prediction, mask = checked(prediction, mask)
    coverage = mask.double().mean()
    if coverage == 0:
        return 1 - prediction.mean()
    if coverage == 1:
        return prediction.mean()
    object_part = coverage * _alike(prediction[mask]) + (1 - coverage) * _alike(1 - prediction[~mask])
    return (alpha * object_part + (1 - alpha) * _region_part(prediction, mask)).clamp(min=0)


def _alike(values: Tensor) -> Tensor:
    """How near to 1, and how even, the values (n,) of one side are."""
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
    """Weighted F-measure, scalar in [0, 1] (Margolin et al. 2014); 0 for an empty mask.

    A miss costs less where the errors around it average out, a false alarm costs up to twice as much the farther it is
    from the object (half of that at 5 pixels: so the score depends on the image's size). The distances, and the nearest
    object pixel of each background pixel, come from SciPy on the CPU; the rest stays on the tensors' device.
    """
    prediction, mask = checked(prediction, mask)
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
