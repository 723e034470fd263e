"""Properties that every check tests: changed arguments, repeated and random results, types, gradients, modes, time."""

import functools
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from answers import each_tensor, edited, exercise_checks, is_class, solutions, with_call, with_result
from torch import nn
from wrong_answers import WRONG

from birefnet_lite.course import checks
from birefnet_lite.course.checks import time_limit
from birefnet_lite.network import refinement

SAME = {"my_block", "my_stage", "my_decoder"}  # they run the checks of notebook 05
CHECKS = {name: check for name, check in exercise_checks().items() if name not in SAME}
CLASSES = [name for name, answer in solutions().items() if is_class(answer) and name not in SAME]
NO_TENSORS = {"encoder_shapes", "chain_field", "resize_matrix", "culprits"}  # what they are given are numbers
ONLY_MODULES = {"fold_batch_norm", "compose_convolutions"}
NO_GRADIENT = NO_TENSORS | ONLY_MODULES | {"composite", "f_measure", "to_network", "masked_gradient_target"}
NO_GRADIENT |= {"integrated_gradients", "train_step", "enlarge_mask", "own_target", "lean_tail", "fool_hce"}
NO_GRADIENT |= {"worst_square"}
GIVES_NUMBERS = {"culprits", "encoder_shapes", "chain_field", "train_step", "composite", "f_measure", "fool_hce"}
GIVES_NUMBERS |= {"worst_square"}
GIVEN_MODULES = ("step_up", "reconstruct", "weigh", "run_stage", "decode", "integrated_gradients", "lean_tail")
EVERY = pytest.mark.parametrize("name", sorted(CHECKS))


def verdict(name, answer):
    return getattr(checks, name)(answer)


def is_refused(name, answer, *said):
    result = verdict(name, answer)
    assert result.passed is False, result.message
    assert any(words in result.message for words in said), result.message


@pytest.mark.parametrize("row", WRONG, ids=[f"{i}-{row[0]}" for i, row in enumerate(WRONG)])
def test_a_mistake_is_named(row):
    name, old, new, said, *more = row
    is_refused(name, edited(name, (old, new), *more), said)


def test_every_exercise_has_a_solution_and_wrong_answers():
    assert set(solutions()) == set(CHECKS) | SAME == {row[0] for row in WRONG}
    assert len(WRONG) > 300


@pytest.mark.parametrize("name", sorted(set(CHECKS) - GIVES_NUMBERS - {"to_network"}))
def test_a_float64_result_passes_with_a_remark(name):
    result = verdict(name, with_result(solutions()[name], each_tensor(lambda x: x.double())))
    assert result.passed is True, result.message
    assert "float64" in result.message or name in NO_TENSORS | ONLY_MODULES


@pytest.mark.parametrize("name", sorted(set(CHECKS) - GIVES_NUMBERS))
def test_no_note_is_made_of_what_a_right_answer_calls(name):
    result = verdict(
        name, with_result(solutions()[name], each_tensor(lambda x: x[..., :-1] if x.ndim else 1.5 * x + 1))
    )
    assert result.passed is False, result.message
    assert "In your code" not in result.message


def test_a_note_is_made_of_the_learners_own_calls_only():
    def step(model, criterion, optimizer, images, masks, labels, clip_norm):  # the criterion calls sigmoids
        return solutions()["train_step"](model, criterion, optimizer, images, masks, 2 - labels, clip_norm)

    is_refused("train_step", step, "move another way")
    assert "In your code" not in verdict("train_step", step).message
    mirrored = verdict("gradient_target", lambda *arguments: refinement.gradient_target(*arguments).flip(-1)).message
    assert mirrored.endswith("In your code: `flip` turns an axis round.")


@EVERY
def test_the_solution_passes_as_a_partial_in_a_session_without_gradients_and_with_another_default_type(name):
    answer = solutions()[name]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            result = verdict(name, functools.partial(lambda *a, **k: answer(*a, **k)))
        assert result.passed is True, result.message
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def given(values):
    for value in values:
        if isinstance(value, torch.Tensor | np.ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from given(value)


def change_data(function, arguments):
    result = function(*arguments)
    for value in given(arguments):
        if isinstance(value, np.ndarray):
            value += 1
        elif value.is_floating_point():
            value.data.add_(1)
    return result


def add_in_place(function, arguments):
    for value in given(arguments):
        if not isinstance(value, torch.Tensor) or value.is_floating_point():
            value += 1
    return function(*arguments)


@pytest.mark.parametrize("name", sorted(set(CHECKS) - NO_TENSORS - ONLY_MODULES))
@pytest.mark.parametrize("change", [change_data, add_in_place])
def test_an_argument_that_is_changed_is_named(name, change):
    is_refused(name, with_call(solutions()[name], change), "changes", "writes into", "in place")


@pytest.mark.parametrize("name", GIVEN_MODULES)
def test_a_module_whose_mode_or_weights_are_changed_is_named(name):
    def switch(function, arguments):
        result = function(*arguments)
        for value in arguments:
            if isinstance(value, nn.Module):
                value.train(not value.training)
        return result

    def add(function, arguments):
        result = function(*arguments)
        for value in arguments:
            if isinstance(value, nn.Module):
                next(value.parameters()).data.add_(1)
        return result

    def freeze(function, arguments):
        result = function(*arguments)
        for value in arguments:
            if isinstance(value, nn.Module):
                value.requires_grad_(False)
        return result

    for change in (switch, add, freeze):
        is_refused(name, with_call(solutions()[name], change), "Your function changes")


def remembering(copy):
    """Results by the shapes of the arguments, as a cache would keep them."""
    kept = {}

    def call(function, arguments):
        numbers = [value for value in arguments if isinstance(value, int | float | str)]
        key = (*(tuple(x.shape) for x in given(arguments)), *numbers, function.__qualname__)
        if key not in kept:
            kept[key] = function(*arguments)
        return each_tensor(lambda x: x.clone())(kept[key]) if copy else kept[key]

    return call


# The check of worst_square has one case for each run, and another photo may have its place there too.
@pytest.mark.parametrize("name", sorted(set(CHECKS) - NO_TENSORS - ONLY_MODULES - {"train_step", "worst_square"}))
@pytest.mark.parametrize("copy", [False, True])
def test_a_result_from_an_earlier_call_is_noticed(name, copy):
    result = verdict(name, with_call(solutions()[name], remembering(copy)))
    assert result.passed is False, result.message


def test_a_list_that_grows_is_named():
    kept = []

    def fuse(features):
        kept.append(1)
        return solutions()["fuse_context"](features) * len(kept)

    is_refused("fuse_context", fuse, "keep something from an earlier call")


@pytest.mark.parametrize("name", sorted(set(CHECKS) - GIVES_NUMBERS))
def test_noise_is_noticed(name):
    noisy = each_tensor(lambda x: x + 1e-3 * torch.randn(x.shape))
    is_refused(name, with_result(solutions()[name], noisy), "random")


@pytest.mark.parametrize("name", sorted(set(CHECKS) - GIVES_NUMBERS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_named(name, dtype):
    is_refused(name, with_result(solutions()[name], each_tensor(lambda x: x.to(dtype))), "float16", "float32")


@pytest.mark.parametrize("name", sorted(set(CHECKS) - GIVES_NUMBERS))
def test_a_numpy_array_for_a_tensor_is_named(name):
    is_refused(name, with_result(solutions()[name], each_tensor(lambda x: x.detach().numpy())), "ndarray", "NumPy")


@EVERY
def test_a_result_in_a_tuple_and_no_result_are_refused(name):
    for change in (lambda result: (result,), lambda result: None):
        assert verdict(name, with_result(solutions()[name], change)).passed is False


@pytest.mark.parametrize("name", sorted(set(CHECKS) - NO_GRADIENT))
def test_a_missing_gradient_is_named(name):
    def without(function, arguments):
        with torch.no_grad():
            return function(*arguments)

    answer = solutions()[name]
    for wrong in (with_result(answer, each_tensor(lambda x: x.detach())), with_call(answer, without)):
        is_refused(name, wrong, "no gradient", "backward", "gradient", "detach")


@pytest.mark.parametrize("name", CLASSES)
def test_weights_that_cannot_learn_are_named(name):
    class Frozen(solutions()[name]):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            next(self.parameters()).requires_grad_(False)

    is_refused(name, Frozen, "cannot learn", "`requires_grad` of the weights")


@pytest.mark.parametrize("name", CLASSES)
def test_a_part_that_stays_in_one_mode_is_noticed(name):
    class Stays(solutions()[name]):
        def train(self, mode=True):
            return super().train(False)

    class Switches(solutions()[name]):
        def forward(self, *arguments):
            self.eval()
            return super().forward(*arguments)

    for wrong in (Stays, Switches):
        is_refused(name, wrong, "mode", "statistics")


@pytest.mark.parametrize("name", CLASSES)
def test_an_object_in_place_of_its_class_and_a_missing_forward_are_named(name):
    is_refused(name, nn.Identity(), "class itself")
    forwardless = type("Mine", (solutions()[name],), {"forward": nn.Module.forward})
    is_refused(name, forwardless, "no `forward`")


@EVERY
def test_an_endless_loop_and_an_exit_end_in_a_message(name, monkeypatch):
    def endless(function, arguments):
        while True:
            pass

    def leave(function, arguments):
        raise SystemExit

    is_refused(name, with_call(solutions()[name], leave), "ends the program")
    monkeypatch.setattr(time_limit, "SECONDS", 0.02)
    is_refused(name, with_call(solutions()[name], endless), "never ends")


def test_an_answer_that_sleeps_is_stopped_too(monkeypatch):
    monkeypatch.setattr(time_limit, "SECONDS", 0.02)
    is_refused("fuse_context", lambda features: threading.Event().wait(300), "never ends")


def test_the_time_limit_is_longer_on_a_busy_machine(monkeypatch):
    clock = SimpleNamespace(passed=0.0, computed=0.0)
    fake = SimpleNamespace(monotonic=lambda: clock.passed, process_time=lambda: clock.computed)
    monkeypatch.setattr(time_limit, "time", fake)
    is_up = time_limit._start_clock(10)
    for clock.passed, clock.computed, up in ((9.9, 9.9, False), (10, 5, True), (30, 3, False), (60, 0, True)):
        assert is_up() == up


def test_the_time_limit_holds_in_another_thread_where_there_is_no_alarm(monkeypatch):
    monkeypatch.setattr(time_limit, "SECONDS", 0.2)
    found = []

    def endless(features):
        while True:
            pass

    thread = threading.Thread(target=lambda: found.append(checks.fuse_context(endless)))
    thread.start()
    thread.join(60)
    assert "never ends" in found[0].message


def wait_for_ever(seconds):
    with time_limit.time_limit(seconds):
        while True:
            pass


def test_the_time_limit_leaves_nothing_behind():
    with time_limit.time_limit(30):
        pass
    with pytest.raises(time_limit.OutOfTime):
        wait_for_ever(0.05)


def test_an_error_comes_with_its_line_and_the_shapes_of_the_call():
    def square_only(x, window):
        return solutions()["window_partition"](x + x.transpose(1, 2) * 0, window)

    message = checks.window_partition(square_only).message
    assert "raises RuntimeError" in message
    assert "x.transpose(1, 2) * 0" in message
    assert "x of (2, 6, 9, 5), window = 3" in message


def test_the_line_of_a_script_in_a_clone_of_this_repository_is_the_learners(tmp_path):
    script = tmp_path / "birefnet_lite" / "mine.py"
    script.parent.mkdir()
    script.write_text("def square_only(x, window):\n    return x @ x\n")
    names = {}
    exec(compile(script.read_text(), str(script), "exec"), names)
    assert "The line is `return x @ x`" in checks.window_partition(names["square_only"]).message


def test_an_error_on_maps_that_are_not_square_says_so():
    def square_only(x, weight, bias):
        return solutions()["lateral_conv"](x + x.transpose(2, 3) * 0, weight, bias)

    assert "(2, 3, 4, 5)" in checks.lateral_conv(square_only).message


def test_an_error_of_pytorch_that_is_called_not_implemented_is_no_stub():
    def flat(features):
        return torch.nn.functional.interpolate(features[0][0], (2, 2), mode="bilinear")  # without a batch

    is_refused("fuse_context", flat, "raises")


def test_a_wrong_answer_is_told_which_calls_are_unusual():
    def smooth(features):
        return solutions()["fuse_context"](features) + torch.rand(1) * 0 + 0.1

    message = checks.fuse_context(smooth).message
    assert "`rand` draws random numbers" in message
    assert "differs by 0.1 everywhere" in message
