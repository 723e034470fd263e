"""The checks of notebook 08 against the solution and against wrong answers: they must tell them apart, and say why."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from answers import knows_a_missing_answer, refused
from torch import nn

from birefnet_lite.course import checks
from birefnet_lite.network.resize import resize
from birefnet_lite.training.losses import BiRefNetLoss
from birefnet_lite.training.pixel_losses import iou_loss, iou_sum_loss
from birefnet_lite.training.settings import TrainSettings
from birefnet_lite.training.trainer import Trainer


def supervise(maps, mask, pixel_loss):
    return sum(pixel_loss(resize(x, mask.shape[-2:]), mask) for x in maps)


def train_step(model, criterion, optimizer, images, masks, labels, clip_norm):
    model.train()
    loss = criterion(model(images), masks, labels).total
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize(
    ("check", "solution"),
    [(checks.iou_loss, iou_loss), (checks.supervise, supervise), (checks.train_step, train_step)],
)
def test_the_solution_passes_and_a_stub_is_not_solved_yet(check, solution):
    knows_a_missing_answer(check, solution)


def iou(logits, mask, p=torch.sigmoid, over=(1, 2, 3), extra=(1.0, 1.0), twice=False, end=lambda x: (1 - x).mean()):
    p = p(logits)
    inside, both = (p * mask).sum(over), (p + mask).sum(over)
    return end((inside + extra[0]) / (both - (0 if twice else inside) + extra[1]))


def test_the_iou_by_another_way_is_right():
    assert checks.iou_loss(iou).passed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda z, m: iou(z, m, p=lambda x: x), "sigmoid first"),
        (lambda z, m: iou(z, m, twice=True), "overlap twice"),
        (lambda z, m: iou(z, m, extra=(0.0, 1.0)), "union only"),
        (lambda z, m: iou(z, m, extra=(0.0, 0.0)), "one pixel is missing"),
        (lambda z, m: iou(z, m, extra=(1e-7, 1e-7)), "one pixel is missing"),
        (iou_sum_loss, "the original's loss"),
        (lambda z, m: iou(z, m, end=lambda x: (1 - x).sum()), "as the original does"),
        (lambda z, m: iou(z, m, over=(0, 1, 2, 3)), "one picture"),
        (lambda z, m: iou(z, m, end=torch.mean), "1 less it"),
        (lambda z, m: iou(z, m, end=lambda x: -x.log().mean()), "logarithm"),
        (lambda z, m: iou(z, m, end=lambda x: 1 - x), "Take their mean"),
        (lambda z, m: iou(z, m, over=1), "pixel by pixel"),
        (lambda z, m: iou(z, m, p=lambda x: (x > 0).float()), "made hard"),
        (lambda z, m: iou(z, m, end=lambda x: (1 - 2 * x / (1 + x)).mean()), "numbers differ"),
        (lambda z, m: iou(z, m).item(), "`backward` needs it"),
        (lambda z, m: iou(z.detach(), m), "no gradient"),
        (lambda z, m: iou(z, m) / 0, "NaN or infinite"),
    ],
)
def test_wrong_iou_losses(wrong, said):
    refused(checks.iou_loss, wrong, said)


def up(x, mask, align=True):
    return F.interpolate(x, mask.shape[-2:], mode="bilinear", align_corners=align)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda maps, m, f: supervise(maps, m, f) / len(maps), "averaged"),
        (lambda maps, m, f: f(maps[-1], m), "Only the final"),
        (lambda maps, m, f: supervise(maps, m, F.binary_cross_entropy_with_logits), "`pixel_loss` is not called"),
        (lambda maps, m, f: supervise(maps[:-1], m, f), "last one, does not count"),
        (lambda maps, m, f: sum(f(up(x, m, False), m) for x in maps), "align_corners"),
        (lambda maps, m, f: sum(f(F.interpolate(x, m.shape[-2:]), m) for x in maps), "nearest"),
        (lambda maps, m, f: sum(f(up(x, m).sigmoid(), m) for x in maps), "leave out the sigmoid"),
        (lambda maps, m, f: sum(f(x, up(m, x)) for x in maps), "mask is shrunk"),
        (lambda maps, m, f: sum(f(x, F.interpolate(m, x.shape[-2:])) for x in maps), "mask is shrunk"),
        (lambda maps, m, f: sum(f(x, F.adaptive_avg_pool2d(m, x.shape[-2:])) for x in maps), "mask is shrunk"),
        (lambda maps, m, f: [f(up(x, m), m) for x in maps], "list"),
        (lambda maps, m, f: sum(f(up(x, m), m).item() for x in maps), "`backward` needs it"),
        (lambda maps, m, f: supervise([x.detach() for x in maps], m, f), "no gradient"),
        (lambda maps, m, f: supervise([*(x.detach() for x in maps[:-1]), maps[-1]], m, f), "gradient"),
        (lambda maps, m, f: sum(f(x, m) for x in maps), "raises ValueError"),
    ],
)
def test_wrong_supervision(wrong, said):
    refused(checks.supervise, wrong, said)


def careless(
    model,
    criterion,
    optimizer,
    images,
    masks,
    labels,
    clip_norm,
    mode=nn.Module.train,
    before=lambda o: o.zero_grad(),
    between=lambda o: None,
    clip=lambda model, norm: nn.utils.clip_grad_norm_(model.parameters(), norm),
    after=lambda model, norm: None,
    answer=lambda loss: loss.item(),
    loss=lambda criterion, output, masks, labels: criterion(output, masks, labels).total,
):
    mode(model)
    value = loss(criterion, model(images), masks, labels)
    before(optimizer)
    value.backward()
    between(optimizer)
    clip(model, clip_norm)
    optimizer.step()
    after(model, clip_norm)
    return answer(value)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"mode": nn.Module.eval}, "model.train()"),
        ({"mode": lambda model: None}, "model.train()"),
        ({"before": lambda o: o.step()}, "comes last"),
        ({"loss": lambda f, output, masks, labels: f(output, masks, labels).total.detach()}, "no way back"),
        ({"before": lambda o: None}, "PyTorch adds to them"),
        ({"before": lambda o: None, "after": lambda model, norm: model.zero_grad()}, "at the end of a step"),
        ({"before": lambda o: None, "between": lambda o: o.zero_grad()}, "have not changed"),
        ({"clip": lambda model, norm: None}, "not clipped"),
        (
            {
                "clip": lambda model, norm: None,
                "after": lambda model, norm: nn.utils.clip_grad_norm_(model.parameters(), norm),
            },
            "between `backward` and `step`",
        ),
        ({"clip": lambda model, norm: nn.utils.clip_grad_value_(model.parameters(), norm)}, "Each value"),
        ({"clip": lambda model, norm: [nn.utils.clip_grad_norm_(x, norm) for x in model.parameters()]}, "by itself"),
        ({"clip": lambda model, norm: nn.utils.clip_grad_norm_(model.parameters(), 1.0)}, "clipped"),
        ({"loss": lambda f, output, masks, labels: f(output, masks).total}, "labels are not used"),
        ({"loss": lambda f, output, masks, labels: f(output, masks, labels)}, "raises AttributeError"),
        (
            {"loss": lambda f, output, masks, labels: f(output._replace(side_logits=()), masks, labels).total},
            "side outputs play no part",
        ),
        ({"answer": lambda loss: loss}, "Return a Python number"),
        ({"answer": lambda loss: None}, "`return`"),
        ({"answer": lambda loss: "low"}, "not a number"),
        ({"answer": lambda loss: loss.item() / 2}, "you return"),
        ({"after": lambda model, norm: [x.data.mul_(0.9) for x in model.parameters()]}, "move another way"),
    ],
)
def test_wrong_steps(mistake, said):
    refused(checks.train_step, lambda *arguments: careless(*arguments, **mistake), said)


def test_a_step_that_runs_the_model_twice_is_noticed():
    def twice(model, criterion, optimizer, images, *rest):
        model.train()
        model(images)
        return train_step(model, criterion, optimizer, images, *rest)

    refused(checks.train_step, twice, "exactly once")


def test_a_right_step_is_that_of_the_training_loop(tmp_path):
    """The loop of the package and the step that the check asks for lead to the same weights."""
    config = {"aspp": "plain", "aspp_channels": 4, "inter_channels": 4}
    settings = TrainSettings(
        str(tmp_path), config=config, size=64, batch_size=2, warmup_steps=0, learning_rate=0.01, dropout=0.0,
        clip_norm=0.5, class_weight=0.5, ema_decay=0.0, seed=3,
    )  # fmt: skip
    run = Trainer(settings)
    model = deepcopy(run.plain_model)
    run.optimizer = run.accelerator.prepare(torch.optim.SGD(run.plain_model.parameters(), lr=0.01))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = BiRefNetLoss({"bce": 1.0, "iou": 1.0}, 1.0, "masked", 0.5)
    batch = run.data[0]
    values = run.train_step([batch])
    loss = train_step(model, criterion, optimizer, *batch, clip_norm=0.5)
    assert loss == pytest.approx(values["loss"], abs=1e-4)
    pairs = zip(model.parameters(), run.plain_model.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 1e-5
    assert values["gradient_norm"] > 0.5  # so clipping counted
