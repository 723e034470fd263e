"""Check of the exercise that switches a part of a network off."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from birefnet_lite.course.checks.compare import compare, compare_gradient, compare_parameter_gradients
from birefnet_lite.course.checks.judge import check
from birefnet_lite.course.checks.result import Wrong
from birefnet_lite.course.checks.retries import Retry

__all__ = ["without_part"]


class _Chain(nn.Module):
    """A part with a way around it, as the parts of a network have; it can be told to fail behind the part."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.part = nn.Conv2d(4, 1, 3, padding=1)  # one map, added to all four
        self.fails: Exception | None = None
        self.runs = 0
        self.from_part: Any = None

    def forward(self, image: Tensor) -> Tensor:
        self.runs += 1
        x = self.first(image).tanh()
        added = self.part(x)
        self.from_part = added.detach() if isinstance(added, Tensor) else added
        if self.fails:
            raise self.fails
        return self.last(x + added)


class _Stop(RuntimeError, ValueError):
    """An error that is caught as either."""


class _Twice(nn.Module):
    """A part that runs twice in one call, as the backbone does."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        return image + self.part(image) + self.part(2 * image)


@check(
    "Right: the part is off for one call, and on again even when the network raises.",
    changes=nn.Module,
    usual=("tanh",),
)
def without_part(answer: Callable[[nn.Module, nn.Module, Tensor], Any]) -> None:
    """`without_part(model, part, image)`: the model's output while the output of its submodule `part` is 0."""
    for batch, height, width in ((2, 8, 6), (1, 5, 7)):
        model: Any = _Chain()
        guest = model.part.register_forward_hook(lambda *arguments: None)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        image = torch.randn(batch, 3, height, width, requires_grad=True)
        where = f"For an image of {tuple(image.shape)}"
        before = model(image)
        modes = {name: part.training for name, part in model.named_modules()}
        versions = [weight._version for weight in model.parameters()]
        model.runs = 0
        got = answer(model, model.part, image)
        runs, replaced = model.runs, model.from_part
        if versions != [weight._version for weight in model.parameters()]:
            raise Wrong("Weights of the part are changed, if only for a while. Leave them alone, use a hook.")
        x = model.first(image).tanh()
        bias = model.part(torch.zeros_like(x))
        mistakes = {
            "This is the output of the whole network. What a forward hook *returns* takes the place of the output; "
            "without a return, nothing changes.": before,
            "The input of the part is 0, and its bias still comes out. Replace what comes out.": model.last(x + bias),
            "The part gives its mean. Replace it by 0.": (
                model.last(x + model.part(x).mean(dim=(2, 3), keepdim=True).expand_as(x))
            ),
            "The part gives what went in. Replace its output by 0.": model.last(x + x),
            "This is the output of the part itself, which is 0. Run the whole model. Is the hook on the whole model? "
            "It belongs on `part`.": torch.zeros_like(before),
            "The input of the part is 0, and not its output.": model.last(x + bias),
            "The output of the part is negated. Replace it by 0.": model.last(x - model.part(x)),
            "The output of the part is 1 everywhere. Replace it by 0.": model.last(x + 1),
            "The part is applied twice.": model.last(x + 2 * model.part(x)),
            "The way around the part is cut off, too: only its own output is 0.": model.last(torch.zeros_like(x)),
            "The weights of the part are 0, but its bias still comes out.": (
                model.last(x + model.part.bias.view(1, -1, 1, 1))
            ),
            "The bias of the part is 0, but its weights still act.": (
                model.last(x + model.part(x) - model.part.bias.view(1, -1, 1, 1))
            ),
        }
        _name_the_share(got, model, x, where)
        mistakes |= {
            "This is the loss that the part prevents, the whole output less that without it. Give the latter.": (
                before - model.last(x)
            ),
            "This is the output without the part less the whole. Give the output alone.": model.last(x) - before,
            "The image is 0. Give the model the image, and switch off the part.": (
                model.last(model.first(torch.zeros_like(image)).tanh())
            ),
        }
        steps = Retry(
            partial(_finish, model, x),
            {"added": model.part(x)},
            "The part still gives something, and should give 0. Your result is that of the model with its output",
        )
        compare(got, model.last(x), where, 1e-6, mistakes, (steps,))
        compare_gradient(got, model.last(x), image, where, 1e-5)
        if any(not torch.equal(value, weights[name]) for name, value in model.state_dict().items()):
            raise Wrong("The number is right, but the weights of the part are gone. Leave them alone, use a hook.")
        if modes != {name: part.training for name, part in model.named_modules()}:
            raise Wrong("The number is right, but the mode of the model is another one afterwards. Leave it alone.")
        if any(not weight.requires_grad for weight in model.parameters()):
            raise Wrong("The number is right, but weights of the model are frozen afterwards. Leave them alone.")
        compare_parameter_gradients(got, model.last(x), model, model, where, 1e-4)
        _refuse_misfit(replaced, bias, runs)
        _as_it_was(model, image, before, guest.id, "The number is right, but")
        model.fails = _Stop("stop")
        try:
            answer(model, model.part, image)
            raise Wrong("The network raised an error and your function kept it quiet. Let it through.")
        except Exception as error:
            if error is not model.fails:
                raise (
                    error
                    if isinstance(error, Wrong)
                    else Wrong(
                        "The network raised an error and your function raises another one. Let it through as it is."
                    )
                ) from error
        model.fails = None
        _as_it_was(model, image, before, guest.id, "When the network raises an error,")
    twice, image = _Twice(), torch.randn(1, 3, 4, 4)
    if not torch.equal(answer(twice, twice.part, image), image):
        raise Wrong(
            "A part that runs twice in one call, as the backbone does, is on again in one of its runs. Keep it off "
            "until the whole model is through: remove the hook behind the model, not inside the hook."
        )


def _finish(model: Any, x: Tensor, added: Tensor) -> Tensor:
    return model.last(x + added)


def _name_the_share(got: Any, model: Any, x: Tensor, where: str) -> None:
    """Raise `Wrong` where the part's output is multiplied by another number than 0."""
    right, whole = model.last(x).detach(), model.last(x + model.part(x)).detach()
    if not isinstance(got, Tensor) or got.shape != right.shape or got.dtype != right.dtype:
        return
    got = got.detach()
    share = float(((got - right) * (whole - right)).sum() / (whole - right).square().sum())
    if abs(share) > 1e-5 and abs(share - 1) > 1e-4 and torch.allclose(got, right + share * (whole - right), atol=1e-6):
        raise Wrong(f"{where}, the part's output is multiplied by {share:.3g}. Replace it by 0.")


def _refuse_misfit(replaced: Any, like: Tensor, runs: int) -> None:
    if not isinstance(replaced, Tensor):
        raise Wrong(
            f"The number is right, but the part gives {type(replaced).__name__} and not a tensor, which only an "
            "addition can take. Give zeros in the shape of the output: torch.zeros_like(output)."
        )
    if replaced.shape != like.shape:
        raise Wrong(
            f"The number is right, but the part gives zeros of {tuple(replaced.shape)}, where its output has the shape "
            f"{tuple(like.shape)}. Is it the shape of its input?"
        )
    if runs > 1:
        raise Wrong(f"The number is right, but the model runs {runs} times. Run it once.")


def _as_it_was(model: Any, image: Tensor, before: Tensor, guest: int, when: str) -> None:
    hooks = model.part._forward_hooks
    if guest not in hooks:
        raise Wrong(f"{when} a hook of somebody else is gone too. Remove your own: handle.remove().")
    if len(hooks) > 1 or not torch.equal(model(image), before):
        raise Wrong(f"{when} the part stays off afterwards. Remove the hook in a `finally`: handle.remove().")
