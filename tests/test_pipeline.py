"""Reading, network and writing side by side: each job ends once, errors stay with their job, pixels are bounded."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birefnet_lite.cli.pipeline import run_pipeline


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), max_size=20),
    bad=st.sets(st.tuples(st.sampled_from(["read", "segment", "write"]), st.integers(0, 19))),
    batch=st.integers(1, 4),
    most=st.integers(1, 25),
)
def test_each_job_ends_once_and_pixels_stay_within_the_bound(sizes, bad, batch, most):
    lock = threading.Lock()
    held, groups, ended = {}, [], {}

    def read(job):
        if ("read", job) in bad:
            raise OSError(f"read {job}")
        with lock:
            held[job] = sizes[job]
            assert len(held) == 1 or sum(held.values()) <= most
        return f"photo {job}"

    def segment(group):
        groups.append([job for job, _ in group])
        assert [photo for _, photo in group] == [f"photo {job}" for job, _ in group]
        return [ValueError(f"segment {job}") if ("segment", job) in bad else f"mask {job}" for job, _ in group]

    def write(job, photo, mask):
        assert (photo, mask) == (f"photo {job}", f"mask {job}")
        with lock:
            del held[job]
        if ("write", job) in bad:
            raise OSError(f"write {job}")

    def finish(job, error):
        assert job not in ended
        ended[job] = str(error) if error else "done"
        with lock:
            held.pop(job, None)

    run_pipeline(range(len(sizes)), read, segment, write, sizes.__getitem__, finish, batch, most)
    expected = {}
    for job in range(len(sizes)):
        stage = next((stage for stage in ("read", "segment", "write") if (stage, job) in bad), None)
        expected[job] = f"{stage} {job}" if stage else "done"
    assert ended == expected
    seen = [job for group in groups for job in group]
    assert seen == [job for job in range(len(sizes)) if ("read", job) not in bad]
    assert all(len(group) <= batch for group in groups)


def test_the_next_photo_is_read_while_the_network_works():
    reading = threading.Event()

    def read(job):
        if job == 1:
            reading.set()
        return job

    def segment(group):
        assert reading.wait(60)  # with one photo after the other, this would never come
        return [None]

    ended = []
    run_pipeline([0, 1], read, segment, lambda *_: None, lambda _: 1, lambda job, error: ended.append(job))
    assert sorted(ended) == [0, 1]


def test_two_photos_are_written_at_once():
    both = threading.Barrier(2)
    ended = []

    def write(*_):
        both.wait(60)  # with one photo after the other, this breaks the barrier

    steps = (lambda job: job, lambda group: [None], write)
    run_pipeline([0, 1], *steps, lambda _: 1, lambda *job_and_error: ended.append(job_and_error))
    assert sorted(ended) == [(0, None), (1, None)]


def test_a_mistake_of_the_program_is_no_error_of_a_photo():
    def finish(job, error):
        raise error

    for stage in range(3):
        steps = [lambda job: job, lambda group: [job for job, _ in group], lambda *_: None]
        steps[stage] = lambda *_: 1 / 0
        with pytest.raises(ZeroDivisionError):
            run_pipeline([1, 2, 3], *steps, lambda _: 1, finish)


def test_an_interruption_ends_after_what_was_begun():
    written = []

    def segment(group):
        if group[0][0] == 2:
            raise KeyboardInterrupt
        return [None]

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(
            range(9), lambda job: job, segment, lambda job, *_: written.append(job), lambda _: 1, lambda *_: None
        )
    assert sorted(written) == [0, 1]
