"""Threads, forks, signals and memory."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import fallline as fl
from rules import ROWS

LARGE = 3_000_000  # elements: a step takes about a millisecond, long enough to be met by another thread

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")


@pytest.fixture(autouse=True)
def _same_number_of_threads_afterwards():
    before = fl.get_num_threads()
    yield
    fl.set_num_threads(before)


def together(*functions):
    """Run functions in a thread each, from one start, and return what they raised."""
    raised = []
    barrier = threading.Barrier(len(functions))

    def guarded(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return raised


# ---------------------------------------------------------------------------------------------------------------------
# The number of threads
# ---------------------------------------------------------------------------------------------------------------------


def run(row, threads, default=1):
    fl.set_num_threads(default)
    rng = np.random.default_rng(7)
    shapes = [(100_003,), (3,), (0,), (200, 200), ()]
    params = [rng.standard_normal(s).astype(d) for s, d in zip(shapes, "ffdde", strict=True)]
    opt = getattr(fl, row.cls)(params, threads=threads, clip_norm=10.0, ema=0.5, **row.keywords)
    for _ in range(3):
        opt.step([np.asarray(rng.standard_normal(p.shape)).astype(p.dtype) for p in params])
    return [p.tobytes() for p in params], [a.tobytes() for own in opt.state.values() for a in own.values()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_bits_do_not_depend_on_threads(row):
    alone = run(row, 1)
    assert run(row, 2) == alone
    assert run(row, None, default=5) == alone


def test_the_number_of_threads_is_live():
    """Both the process's and an optimizer's own; from step to step, with the same bits as one thread."""
    x, y = np.ones(300_000), np.ones(300_000)
    opt, alone = fl.Adam(x, lr=0.1), fl.Adam(y, lr=0.1, threads=1)
    for own, default in ((None, 1), (None, 3), (2, 1), (4, 2), (None, 8), (1, 8)):
        opt.threads = own
        fl.set_num_threads(default)
        assert fl.get_num_threads() == default
        assert fl.show_config(mode="dict")["threads"] == default
        g = np.sin(np.arange(300_000.0) + default)
        opt.step(g)
        alone.step(g)
        assert x.tobytes() == y.tobytes()


def script(code, timeout=60, **environment):
    """Run Python code in a process of its own, with warnings as errors, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout,
        env=os.environ | environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@ON_LINUX
def test_workers_are_started_when_they_are_needed_and_stay_few():
    counts = script("""
        import os
        import numpy as np
        import fallline as fl
        tasks = lambda: len(os.listdir("/proc/self/task"))
        base = tasks()
        small, large = np.ones(100), np.ones(500_000)
        fl.set_num_threads(3)
        fl.SGD(small).step(small.copy())
        print(tasks() - base)
        for _ in range(50):
            fl.SGD(large).step(np.ones(500_000))
        print(tasks() - base)
        fl.set_num_threads(1)
        fl.SGD(large).step(np.ones(500_000))
        fl.set_num_threads(2)
        fl.SGD(large).step(np.ones(500_000))
        print(tasks() - base)
    """)
    assert counts == ["0", "2", "2"]  # the caller takes part, so 3 threads are 2 workers


@ON_LINUX
def test_the_default_is_what_this_process_may_use():
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import fallline
        print(fallline.get_num_threads())
    """
    assert script(code) == ["1"]
    assert 1 <= fl.get_num_threads() <= len(os.sched_getaffinity(0))


@ON_LINUX
def test_workers_leave_signals_to_the_interpreter():
    """A signal that a worker took would interrupt no system call of the main thread."""
    masks = script("""
        import os
        import numpy as np
        import fallline as fl
        before = set(os.listdir("/proc/self/task"))
        fl.SGD(np.ones(500_000), threads=3).step(np.ones(500_000))
        for task in set(os.listdir("/proc/self/task")) - before:
            with open(f"/proc/self/task/{task}/status") as file:
                blocked = int(dict(line.split(":", 1) for line in file)["SigBlk"], 16)
            print(blocked >> 1 & 1, blocked >> 13 & 1)  # SIGINT, SIGALRM
    """)
    assert masks == ["1", "1"] * 2


# ---------------------------------------------------------------------------------------------------------------------
# Several Python threads
# ---------------------------------------------------------------------------------------------------------------------

BUSY = (
    "step: must be called by one thread at a time; got a call while another is under way on this optimizer. "
    "Guard it by a lock, or give each thread its own optimizer."
)


@pytest.mark.parametrize("threads", [1, 2])
def test_two_threads_on_one_optimizer_raise_and_leave_it_consistent(threads):
    """Every step that did not raise was done wholly, and every one that raised not at all."""
    x, g = np.zeros(LARGE, np.float32), np.ones(LARGE, np.float32)
    opt = fl.SGD(x, lr=1.0, momentum=0.5, threads=threads)
    done, refused = [], []

    def stepping():
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            try:
                opt.step(g)
                done.append(1)
            except RuntimeError as error:
                refused.append(str(error))

    assert together(stepping, stepping) == []
    assert refused
    assert set(refused) == {BUSY}
    assert opt.steps == len(done) == opt.state["0"]["t"]
    y = np.zeros(1, np.float32)
    twin = fl.SGD(y, lr=1.0, momentum=0.5)
    for _ in done:
        twin.step(np.ones(1, np.float32))
    assert (x == y[0]).all()


@pytest.mark.parametrize("name", ["weight_decay", "frozen", "maximize", "ema"])
def test_an_assignment_during_a_step_waits_for_the_next(name):
    """All elements are equal and have equal gradients before a step, so they are equal after it."""
    values = {"weight_decay": (0.5, 2.0), "ema": (0.5, 0.25)}.get(name, (False, True))
    x, g = np.full(LARGE, 2.0, np.float32), np.ones(LARGE, np.float32)
    opt = fl.SGD(x, lr=2.0**-10, ema=0.5)
    owner = opt.groups[0] if name == "frozen" else opt
    stop, torn = [], []

    def stepping():
        try:
            for _ in range(60):
                opt.step(g)
                average = opt.state["0"]["average"]
                if (x != x[0]).any() or (average != average[0]).any():
                    torn.append((float(x.min()), float(x.max())))
                    return
        finally:
            stop.append(1)

    def assigning():
        while not stop:
            for value in values:
                try:
                    setattr(owner, name, value)
                except RuntimeError:  # a refusal is as good
                    time.sleep(0)

    assert together(stepping, assigning) == []
    assert torn == []


def test_optimizers_of_their_own_step_in_threads_of_their_own():
    def job(seed, into):
        rng = np.random.default_rng(seed)
        x = np.zeros(200_000)
        opt = fl.Adam(x, lr=0.1, threads=2)
        for _ in range(20):
            opt.step(rng.standard_normal(200_000))
        into[seed] = x.tobytes()

    alone, found = {}, {}
    for seed in range(4):
        job(seed, alone)
    assert together(*(lambda seed=seed: job(seed, found) for seed in range(4))) == []
    assert found == alone


def test_a_step_lets_other_threads_run():
    """The core holds no GIL: Python goes on while a long step is under way."""
    x, g = np.zeros(20_000_000, np.float32), np.ones(20_000_000, np.float32)
    opt = fl.Adam(x, threads=1)
    opt.step(g)
    stamps, span = [], []

    def stepping():
        start = time.perf_counter()
        opt.step(g)
        span.extend((start, time.perf_counter()))

    def counting():
        while not span:
            stamps.append(time.perf_counter())

    assert together(stepping, counting) == []
    start, end = span
    assert sum(start + 0.25 * (end - start) < t < start + 0.75 * (end - start) for t in stamps) > 0


# ---------------------------------------------------------------------------------------------------------------------
# Forks
# ---------------------------------------------------------------------------------------------------------------------

FORKED = """
    import os, signal, sys, threading, warnings
    import numpy as np
    import fallline as fl
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # of Python 3.12: it is multi-threaded
    THREADS = {threads}
    N = 400_000
    fl.set_num_threads(THREADS)

    def in_child(function):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a child that hangs is killed
            try:
                function()
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def check(opt, x):
        before, steps = x[0], opt.steps
        opt.step(np.ones(N))
        assert (x == before - 1).all(), x
        assert opt.steps == steps + 1
"""


@FORKS
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_forked_child_steps(threads):
    """An optimizer of the parent, and a new one; child after child, and a child of a child; and the parent goes on."""
    found = script(
        FORKED.format(threads=threads)
        + """
    x = np.zeros(N)
    opt = fl.SGD(x, lr=1.0)
    print(in_child(lambda: check(opt, x)))          # before any step of the parent
    opt.step(np.ones(N))
    def child():
        check(opt, x)
        y = np.zeros(N)
        check(fl.SGD(y, lr=1.0), y)
        assert in_child(lambda: check(opt, x)) == 0
        check(opt, x)
    for _ in range(3):
        print(in_child(child))
        check(opt, x)
    """
    )
    assert found == ["0"] * 4


@FORKS
@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_forked_while_another_thread_steps(threads):
    """The child has no such thread, so the step that it sees under way will never end; it must not be waited for."""
    found = script(
        FORKED.format(threads=threads)
        + """
    x, y = np.zeros(N), np.zeros(N)
    busy, idle = fl.SGD(x, lr=1.0), fl.SGD(y, lr=1.0)
    stop = []
    def stepping():
        g = np.ones(N)
        while not stop:
            busy.step(g)
    thread = threading.Thread(target=stepping)
    thread.start()
    def child():
        check(idle, y)
        x[:] = 0                                     # a step may have been cut in half
        check(busy, x)
        check(busy, x)
    try:
        print(*[in_child(child) for _ in range(30)])
    finally:
        stop.append(1)
        thread.join()
    check(busy, x)
    """
    )
    assert found == ["0"] * 30


@FORKS
def test_a_pool_of_forked_processes():
    found = script("""
        import multiprocessing
        import numpy as np
        import fallline as fl
        def work(seed):
            x = np.full(300_000, float(seed))
            opt = fl.SGD(x, lr=1.0, threads=2)
            for _ in range(3):
                opt.step(np.ones(300_000))
            return float(x.sum()) / 300_000
        if __name__ == "__main__":
            print(work(5))
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(*pool.map(work, range(6)))
    """)
    assert [float(x) for x in found] == [2.0, -3, -2, -1, 0, 1, 2]


# ---------------------------------------------------------------------------------------------------------------------
# Signals
# ---------------------------------------------------------------------------------------------------------------------


def step_on(opt, g):
    for _ in range(100_000):
        opt.step(g)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_an_interrupt_during_steps_is_not_lost_and_cuts_no_step_in_half():
    x, g = np.zeros(LARGE, np.float32), np.ones(LARGE, np.float32)
    opt = fl.SGD(x, lr=1.0)
    for delay in (0.003, 0.01, 0.02):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            step_on(opt, g)
        timer.join()
        assert (x == x[0]).all()
        assert x[0] == -opt.state["0"]["t"]
    opt.step(g)
    assert (x == x[0]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Memory
# ---------------------------------------------------------------------------------------------------------------------

EXACT = [
    pytest.param(fl.SGD, {}, 0, id="sgd"),
    pytest.param(fl.Momentum, {}, 1, id="momentum"),
    pytest.param(fl.RMSprop, {}, 1, id="rmsprop"),
    pytest.param(fl.Adam, {}, 2, id="adam"),
    pytest.param(fl.Adam, {"amsgrad": True}, 3, id="amsgrad"),
    pytest.param(fl.AdamW, {"ema": 0.9}, 3, id="adamw-ema"),
    pytest.param(fl.Lion, {}, 1, id="lion"),
    pytest.param(fl.Adan, {}, 4, id="adan"),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("cls", "options", "n_states"), EXACT)
def test_memory_is_exactly_the_states(cls, options, n_states, dtype):
    """Ten tensors of 10^5: the states, and for all else (padding to cache lines, objects) not a tenth of one state."""
    params = [np.zeros(100_000, dtype) for _ in range(10)]
    states = n_states * sum(p.nbytes for p in params)
    cls(params, **options)  # what is allocated once per process is not counted
    gc.collect()
    tracemalloc.start()
    try:
        opt = cls(params, **options)
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert states <= allocated <= states + 0.1 * params[0].nbytes * 10
    assert sum(a.nbytes for own in opt.state.values() for a in own.values() if a.ndim) == states


@pytest.mark.parametrize("how", ["master", "stochastic", "nearest"])
def test_memory_of_half_parameters(how):
    p = np.zeros(1_000_000, np.float16)
    opt = fl.Adam(p, half_params=how)
    arrays = 3 if how == "master" else 2
    assert sum(a.nbytes for a in opt.state["0"].values() if a.ndim) == 4 * arrays * p.size


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", ["contiguous", "strided", "half"])
def test_a_step_allocates_nothing(threads, layout):
    params = {"a": np.ones(1_000_000, np.float32), "b": {"c": [np.ones((300, 400), np.float32)]}}
    if layout == "strided":
        params = {"a": np.ones((1000, 2000), np.float32)[:, ::2], "b": {"c": [np.ones((400, 300), np.float32).T]}}
    if layout == "half":
        params = {"a": np.ones(1_000_000, np.float16), "b": {"c": [np.ones((300, 400), np.float16)]}}
    grads = {"a": np.full_like(params["a"], 0.5), "b": {"c": [np.full_like(params["b"]["c"][0], 0.5)]}}
    opt = fl.AdamW(params, clip_norm=1.0, ema=0.5, threads=threads)
    opt.step(grads)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(10):
            opt.step(grads)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The smallest array is 240 000 bytes; a few small objects may come and go.
    assert peak - before < 4096
    assert after - before < 1024


@ON_LINUX
def test_steps_and_optimizers_leak_no_memory_and_no_threads():
    """After a warm-up, ten times the work must not move the resident set by a twentieth of what it allocates."""
    rss_before, rss_after, before, after = map(
        int,
        script("""
        import os
        import numpy as np
        import fallline as fl

        def rss():
            return int(open_read("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGESIZE")

        def open_read(path):
            with open(path) as file:
                return file.read()

        g = [np.ones(100_000, np.float32)] * 2
        def work(n):
            for _ in range(n):                     # 1.6 MB of states each
                params = [np.ones(100_000, np.float32) for _ in range(2)]
                opt = fl.Adam(params, threads=2)
                opt.step(g)
                opt.step([g[0], None])
                for bad in ([g[0]], [g[0], g[0][:5]], [np.full(100_000, np.nan, np.float32), None]):
                    try:
                        opt.step(bad)
                    except ValueError:
                        continue
                opt.groups[0].lr = 0.5
        work(30)
        start, threads = rss(), len(os.listdir("/proc/self/task"))
        work(300)
        print(start, rss(), threads, len(os.listdir("/proc/self/task")))
    """),
    )
    assert rss_after - rss_before < 300 * 1.6e6 / 20
    assert before == after


def test_an_optimizer_that_is_dropped_is_freed_at_once():
    """It is part of no cycle: its arrays do not wait for the garbage collector."""
    gc.disable()
    try:
        p, g = np.ones(100), np.ones(100)
        opt = fl.Adam({"p": p}, ema=0.5)
        opt.step({"p": g})
        opt.grads["p"][:] = 1
        opt.groups[0].lr = 0.5
        repr(opt)
        dropped = weakref.ref(opt)
        base = weakref.ref(opt.state["p"]["m"].base)
        counts = sys.getrefcount(p), sys.getrefcount(g)
        del opt
        assert dropped() is None
        assert base() is None
        assert sys.getrefcount(p) < counts[0]
    finally:
        gc.enable()


def test_a_step_keeps_no_gradient():
    p, g, bad = np.ones(3), np.ones(3), np.full(3, np.nan)
    opt = fl.Adam({"p": p})
    before = sys.getrefcount(g), sys.getrefcount(bad)
    for _ in range(3):
        opt.step({"p": g})
        with pytest.raises(ValueError, match="finite"):
            opt.step({"p": bad})
        with pytest.raises(ValueError, match="names"):
            opt.step({"p": g, "q": g})
    assert (sys.getrefcount(g), sys.getrefcount(bad)) == before


def test_the_optimizer_keeps_its_parameters_alive():
    p = np.ones(1000)
    opt = fl.SGD({"p": p}, lr=0.5)
    opt.params.clear()
    del p
    junk = [np.full(1000, 7.0) for _ in range(100)]
    opt.step({"p": np.ones(1000)})
    assert all((array == 7.0).all() for array in junk)


def test_many_small_tensors_and_groups():
    params = [np.ones(3, np.float32) for _ in range(2000)]
    opt = fl.Adam([{"params": params[i : i + 2], "lr": 0.5 / (i + 1)} for i in range(0, 2000, 2)], threads=2)
    opt.step([[np.ones(3, np.float32)] * 2 for _ in range(1000)])
    rates = np.repeat(0.5 / (np.arange(0, 2000, 2) + 1), 2)
    np.testing.assert_allclose(np.array(params)[:, 0], 1 - rates, rtol=1e-6)
