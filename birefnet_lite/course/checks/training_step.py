"""Exercise of notebook 08: one step of training."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Unclear, Wrong
from birefnet_lite.network.birefnet import BiRefNetOutput
from birefnet_lite.training.losses import BiRefNetLoss

__all__ = ["train_step"]


class _Toy(nn.Module):
    """A network small enough to try every mistake on: it answers as BiRefNet does, in training and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.side, self.head, self.classes = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1), nn.Linear(4, 3)

    def forward(self, image: Tensor) -> BiRefNetOutput:
        x = self.features(image)  # (B, 4, H, W)
        if not self.training:
            return BiRefNetOutput(None, (), (), (), self.head(x))
        return BiRefNetOutput(self.classes(x.mean(dim=(2, 3))), (), (), (self.side(x),), self.head(x))


class _Batch(NamedTuple):
    images: Tensor
    masks: Tensor
    labels: Tensor


@check(
    "Right: the weights are where they should be after two steps, and so are the statistics.",
    changes=nn.Module,
    repeats=False,
    usual=("detach", "item", "no_grad"),  # PyTorch's own clipping calls them
)
def train_step(answer: Callable[..., Any]) -> None:
    """`train_step(model, criterion, optimizer, images, masks, labels, clip_norm)`: learns once, returns the loss."""
    criterion = BiRefNetLoss({"bce": 1.0, "iou": 1.0}, class_weight=0.5)
    for clip_norm in (0.05, 100.0):
        start = _Toy()
        batches = [_Batch(torch.randn(4, 3, 8, 8), torch.rand(4, 1, 8, 8).round(), torch.arange(4) % 3) for _ in "12"]
        wanted, losses = _two_steps(start, criterion, batches, clip_norm, _step)
        got, answers = _their_steps(start, criterion, batches, clip_norm, answer)
        mistakes = {
            said: _parameters(_two_steps(start, criterion, batches, clip_norm, step)[0])
            for said, step in _MISTAKES.items()
        }
        where = f"With clip_norm={clip_norm:g}, in the weights after two steps"
        if torch.equal(_parameters(got), _parameters(start)):
            raise Wrong(
                "The weights have not changed. In this order: zero_grad, backward, clip, step. Is the gradient set to "
                "zero after `backward`, or is `optimizer.step()` missing?"
            )
        try:
            compare(_parameters(got), _parameters(wanted), where, 1e-6, mistakes)
        except Unclear:
            _describe_movement(start, criterion, batches, clip_norm, answer)
            raise
        if not torch.allclose(_statistics(got), _statistics(wanted), atol=1e-6):
            raise Wrong(
                "The weights are right, but the statistics of the batch norm are not. Is the model run exactly once?"
            )
        _check_returned(answers, losses)


def _describe_movement(
    start: nn.Module, criterion: nn.Module, batches: list[_Batch], clip_norm: float, answer: Callable[..., Any]
) -> None:
    """Raise `Wrong` with how the weights have moved in the first step, where that is not as it should be."""
    where = f"With clip_norm={clip_norm:g}"
    (right, _), (mine, _) = (_two_steps(start, criterion, batches[:1], clip_norm, step) for step in (_step, answer))
    begin, ours, theirs = _parameters(start), _parameters(mine), _parameters(right)
    if torch.allclose(ours, theirs, atol=1e-6):
        raise Wrong(
            f"{where}, the first step is right, and the second is not. The second meets gradients of the first, and "
            "the optimizer's momentum: is every gradient set to zero, and is it `optimizer.step()` that moves the "
            "weights?"
        )
    ours, theirs = ours - begin, theirs - begin
    factor = float((ours @ theirs) / (theirs @ theirs))
    if (ours - factor * theirs).abs().max() < 1e-2 * theirs.abs().max():
        raise Wrong(
            f"{where}, the weights move {factor:.3g} times as far as they should, in the right direction. Is the loss "
            "scaled, `backward` called twice, the gradient clipped to another norm, or the learning rate changed?"
        )
    parts: dict[str, list[str]] = {"do not move": [], "are right": [], "move another way": []}
    reference = dict(right.named_parameters())
    before = dict(start.named_parameters())
    for name, weight in mine.named_parameters():
        if torch.equal(weight, before[name]):
            parts["do not move"].append(name)
        elif torch.allclose(weight, reference[name], atol=1e-6):
            parts["are right"].append(name)
        else:
            parts["move another way"].append(name)
    found = "; ".join(f"{', '.join(names)} {said}" for said, names in parts.items() if names)
    raise Wrong(
        f"{where}, after the first step: {found}. The loss is `criterion(model(images), masks, labels).total`, of all "
        "that is given and unchanged, and the gradient is clipped over all weights together."
    )


def _two_steps(
    start: nn.Module, criterion: nn.Module, batches: list[_Batch], clip_norm: float, step: Callable[..., Any]
) -> tuple[nn.Module, list[Any]]:
    """Two steps from `start`, which is not changed; left-over gradients and evaluation mode lie in wait."""
    model = deepcopy(start).eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, [step(model, criterion, optimizer, *batch, clip_norm) for batch in batches]


def _their_steps(start: nn.Module, *arguments: Any) -> tuple[nn.Module, list[Any]]:
    """The learner's two steps; what PyTorch says about a wrong order is put into words."""
    try:
        return _two_steps(start, *arguments)
    except RuntimeError as error:
        if "modified by an inplace operation" in str(error):
            raise Wrong(
                "The weights change before `backward` has used them: `optimizer.step()` comes last, after `backward` "
                "and clipping."
            ) from error
        if "does not require grad" in str(error):
            raise Wrong(
                "`backward` finds no way back to the weights. Leave out `no_grad` and `detach`, and call `backward` on "
                "the tensor `.total`, not on a copy of its value."
            ) from error
        raise


def _parameters(model: nn.Module) -> Tensor:
    return torch.cat([x.detach().flatten() for x in model.parameters()])


def _statistics(model: nn.Module) -> Tensor:
    return torch.cat([x.flatten().float() for x in model.buffers()])


def _check_returned(answers: list[Any], losses: list[float]) -> None:
    for got, wanted in zip(answers, losses, strict=True):
        if got is None:
            raise Wrong("The weights are right, but your function gives None. Is there a `return`?")
        if isinstance(got, Tensor) and got.requires_grad:
            raise Wrong("Return a Python number, `.item()`: the tensor keeps everything behind it in memory.")
        if isinstance(got, Tensor | np.ndarray):
            kind = "tensor" if isinstance(got, Tensor) else "NumPy array"
            raise Wrong(f"The weights are right, but the result is a {kind}. Return a Python number: `.item()`.")
        try:
            value = float(got)
        except (TypeError, ValueError):
            raise Wrong(f"The weights are right, but the result is {type(got).__name__}, not a number.") from None
        if abs(value - wanted) > 1e-5:
            raise Wrong(
                f"The weights are right, but the loss is {wanted:.4f} and you return {value:.4f}. Return the total, as "
                "it was before the step."
            )


def _step(
    model: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    masks: Tensor,
    labels: Tensor,
    clip_norm: float,
    *,
    training: bool = True,
    zero: bool | str = True,
    labelled: bool = True,
    part: str = "total",
    clip: str = "norm",
    sign: float = 1.0,
    steps: int = 1,
    eval_norms: bool = False,
    change: Callable[..., Any] | None = None,
) -> float:
    """The step as it should be; each named argument makes one mistake."""
    model.train(training)
    if change is not None:
        images, masks, labels = change(images, masks, labels)
    if eval_norms:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    output = model(images)
    if part == "sigmoid":
        output = output._replace(logits=output.logits.sigmoid())
    if part == "logits":
        output = output._replace(side_logits=())
    loss = criterion(output, masks, labels if labelled else None).total
    if zero is True:
        optimizer.zero_grad()
    (loss**2 if part == "square" else sign * loss).backward()
    if clip == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    elif clip == "value":
        nn.utils.clip_grad_value_(model.parameters(), clip_norm)
    elif clip == "each":
        for parameter in model.parameters():
            nn.utils.clip_grad_norm_(parameter, clip_norm)
    elif clip == "one":
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    elif clip == "twice":
        nn.utils.clip_grad_norm_(model.parameters(), 2 * clip_norm)
    elif clip == "inf":
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm, norm_type=float("inf"))
    elif clip == "one-norm":
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm, norm_type=1)
    elif clip == "always":
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad *= clip_norm / norm
    elif clip == "half":
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm / 2)
    elif clip == "squared":
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm**2)
    for _ in range(steps):
        optimizer.step()
    if zero == "at the end":
        optimizer.zero_grad()
    return loss.item()


def _variant(**mistake: Any) -> Callable[..., float]:
    return lambda *arguments: _step(*arguments, **mistake)


_UNCLIPPED = "The gradient is not clipped before the step. Clip between `backward` and `step`, to `clip_norm`."
_LEFT_OVER = "Gradients of the step before are still there: PyTorch adds to them. Set them to zero first."
_MISTAKES = {
    "The model is not in training mode: call `model.train()`. There are no side outputs otherwise, and batch norms "
    "keep old statistics.": _variant(training=False),
    _UNCLIPPED: _variant(clip="no"),
    _LEFT_OVER: _variant(zero=False),
    "The gradients are set to zero at the end of a step, so those that the model came with count in the first. Set "
    "them to zero before `backward`.": _variant(zero="at the end"),
    f"{_LEFT_OVER} And the gradient is not clipped.": _variant(zero=False, clip="no"),
    "The labels are not used. Give them to the criterion: the class head learns from them.": _variant(labelled=False),
    "Each value of the gradient is clipped. Clip the norm of all of them together (clip_grad_norm_).": _variant(
        clip="value"
    ),
    "Each parameter is clipped by itself. Clip the norm of the whole gradient (clip_grad_norm_).": _variant(
        clip="each"
    ),
    "The gradient is clipped to 1, whatever `clip_norm` says.": _variant(clip="one"),
    "The batch norms are in evaluation mode. `model.train()` switches all parts.": _variant(eval_norms=True),
    "The weights move the wrong way: call `backward` on the loss itself, without a minus.": _variant(sign=-1.0),
    "The loss is scaled before `backward`. Leave it as it is.": _variant(sign=0.25),
    "`optimizer.step()` is called twice.": _variant(steps=2),
    "The gradient is clipped by its largest value. Clip its ordinary norm (norm_type=2).": _variant(clip="inf"),
    "The gradient is clipped by the sum of its absolute values. Clip its ordinary norm.": _variant(clip="one-norm"),
    "The gradient is always scaled to `clip_norm`, also where it is smaller. clip_grad_norm_ only shortens.": _variant(
        clip="always"
    ),
    "Only the first image of the batch is used. Give the model all of them.": _variant(
        change=lambda images, masks, labels: (images[:1], masks[:1], labels[:1])
    ),
    "The images are divided by 255. They come normalised: use them as they are.": _variant(
        change=lambda images, masks, labels: (images / 255, masks, labels)
    ),
    "The masks are inverted.": _variant(change=lambda images, masks, labels: (images, 1 - masks, labels)),
    "The labels are all 0. Give the criterion those that come with the batch.": _variant(
        change=lambda images, masks, labels: (images, masks, labels * 0)
    ),
    "The loss is squared before `backward`. Use it as it is.": _variant(part="square"),
    "The logits go through a sigmoid before the criterion, which takes logits.": _variant(part="sigmoid"),
    "The gradient is clipped to half of `clip_norm`.": _variant(clip="half"),
    "`backward` is called twice, so that gradients are added, or the loss is doubled.": _variant(sign=2.0),
    "The gradient is clipped to the square of `clip_norm`.": _variant(clip="squared"),
    "The side outputs play no part in the loss. Give the criterion the whole output.": _variant(part="logits"),
}
