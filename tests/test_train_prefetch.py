"""Work ahead: in order, bounded, errors where they belong, nothing left running."""

import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.prefetch import map_ahead, prefetch, thread_pool


@given(st.lists(st.tuples(st.integers(), st.integers()), max_size=12), st.integers(1, 5))
def test_what_comes_out_is_what_a_plain_loop_gives(positions, depth):
    with prefetch(lambda seen, many: (seen, many), positions, depth=depth) as made:
        assert list(made) == positions


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_more_than_depth_are_made_ahead(depth):
    begun, together = [], []
    with prefetch(lambda n, _: begun.append(n) or n, zip(count(), count()), depth=depth) as made:
        for n in made:
            deadline = time.monotonic() + 5
            while len(begun) < n + 1 + depth and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.01)
            together.append(len(begun) - n - 1)
            if n == 4:
                break
    assert together == [depth] * 5


def test_the_next_one_is_made_while_this_one_is_in_use():
    seen = threading.Event()

    def make(n: int, _: int) -> int:
        if n == 1:
            seen.set()
        return n

    with prefetch(make, [(0, 0), (1, 0)], depth=1) as made:
        assert next(made) == 0
        assert seen.wait(5), "made without being asked for"


def test_an_error_comes_where_its_result_would_and_nothing_after_it():
    made = []

    def make(n: int, _: int) -> float:
        made.append(n)
        return 1 / (n - 2)

    with prefetch(make, ((n, 0) for n in count())) as results:
        assert next(results) == -0.5 and next(results) == -1.0
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


def test_leaving_early_stops_the_thread():
    before, made = threading.active_count(), []
    with (
        pytest.raises(KeyError),
        prefetch(lambda n, _: made.append(n), zip(count(), count())) as got,
    ):
        next(got)
        raise KeyError
    assert threading.active_count() == before
    calls = len(made)
    time.sleep(0.05)
    assert len(made) == calls


def test_a_result_is_given_up_with_the_next(recwarn):
    import gc
    import weakref

    class Large:
        pass

    with prefetch(lambda n, _: Large(), [(n, 0) for n in range(6)], depth=1) as made:
        first = weakref.ref(next(made))
        next(made)
        gc.collect()
        assert first() is None


SCRIPT = """
import sys, time
from itertools import count
from train.data.prefetch import prefetch
def make(n, _):
    time.sleep(0.05)
    return n
try:
    with prefetch(make, zip(count(), count())) as made:
        for n in made:
            print(n, flush=True)
            time.sleep(60 if n else 0)
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_ctrl_c_ends_it_at_once():
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert process.wait(timeout=20) == 7
    assert time.monotonic() - started < 10
    process.stdout.close()


@given(st.lists(st.integers(), max_size=30), st.integers(1, 4), st.integers(1, 6))
def test_many_threads_keep_the_order(items, workers, depth):
    with thread_pool(workers) as pool:
        assert list(map_ahead(pool, lambda n: n, ((n,) for n in items), depth=depth)) == items


def test_a_depth_of_nothing_is_refused():
    with pytest.raises(ValueError, match="below 1"), prefetch(divmod, [(1, 1)], depth=0):
        pass
