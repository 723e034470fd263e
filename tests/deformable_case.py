"""Arguments for deformable convolution, and the comparison of its backends with torchvision's operator."""

import torch
import torchvision

REFERENCE = torchvision.ops.deform_conv2d

# B, C, O, H, W, (kh, kw), stride, padding, dilation, offset groups
CASES = [
    (1, 3, 4, 7, 9, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 4, 3, 9, 5, (3, 2), (2, 1), (0, 2), (1, 2), 2),
    (3, 6, 5, 6, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 2, 3, 11, 8, (7, 7), (1, 1), (3, 3), (1, 1), 1),
    (1, 6, 2, 10, 13, (5, 2), (3, 2), (2, 1), (2, 1), 3),
    (2, 3, 2, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1), 1),
]
MANY_CHANNELS = (2, 70, 130, 6, 7, (1, 1), (1, 1), (0, 0), (1, 1), 1)


def draw(case, dtype=torch.float64, reach=3.0, far=1e6, masked=True, biased=True, seed=0, device="cpu"):
    """Arguments for `deform_conv2d`: some points on whole pixels, some just outside the picture, some `far` away."""
    b, c, o, h, w, (kh, kw), stride, padding, dilation, groups = case
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((h, w), padding, dilation, (kh, kw), stride, strict=True)
    ]
    g = torch.Generator().manual_seed(seed)
    offset = reach * torch.randn(b, 2 * groups * kh * kw, *out, generator=g, dtype=torch.float64)
    kind = torch.rand(offset.shape, generator=g)
    offset = torch.where(kind < 0.2, offset.round(), offset)
    offset = torch.where(kind > 0.97, offset * far, offset)
    tensors = {
        "input": torch.randn(b, c, h, w, generator=g, dtype=torch.float64),
        "offset": offset,
        "weight": torch.randn(o, c, kh, kw, generator=g, dtype=torch.float64) / (c * kh * kw) ** 0.5,
        "bias": torch.randn(o, generator=g, dtype=torch.float64) if biased else None,
        "mask": 2 * torch.rand(b, groups * kh * kw, *out, generator=g, dtype=torch.float64) if masked else None,
    }
    tensors = {name: None if tensor is None else tensor.to(device, dtype) for name, tensor in tensors.items()}
    return {**tensors, "stride": stride, "padding": padding, "dilation": dilation}


def results(function, arguments, dtype=None):
    """The output and the gradients of all tensors, by name; `dtype` is that of the computation, if another one."""
    leaves = {
        name: value.detach().to(dtype or value.dtype, copy=True).requires_grad_()
        for name, value in arguments.items()
        if isinstance(value, torch.Tensor)
    }
    y = function(**{**arguments, **leaves})
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y)
    return {"output": y.detach(), **dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), grad), strict=True))}


def assert_close(ours, reference, tolerance):
    """Each tensor of two `results` differs by at most `tolerance` times the largest number of the reference's."""
    assert ours.keys() == reference.keys()
    for name, wanted in reference.items():
        assert ours[name].shape == wanted.shape
        assert torch.isfinite(ours[name]).all()
        limit = tolerance * max(1e-300, wanted.abs().max().item())
        error = (ours[name].double() - wanted.double()).abs().max().item()
        assert error <= limit, f"{name}: {error} is more than {limit}"
