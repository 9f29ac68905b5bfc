"""Measuring contenders in turn, and the tables that show what came out."""

import dataclasses
import gc
import math
import statistics
import time
import timeit

LEAST_ROUNDS = 7
LEAST_SECONDS = 0.005  # what one measurement takes; quicker steps are repeated within it
QUIET_SECONDS = 0.01  # before each measurement: OpenMP's workers spin for milliseconds after their step


class Race:
    """Contenders that run in turn (A, B, C, A, B, C, ...), since times can be compared only within one round.

    Memory is shared with whatever else the machine does, and its speed changes within seconds.
    """

    def __init__(self, title):
        self.title = title
        self.contenders = {}  # name: function that measures the seconds of one run
        self.missing = []  # names whose library is not installed
        self.seconds = {}  # name: measurements

    def add(self, name, statement, **names):
        """Add `statement` (text or a function), run warm: compiled, its pages touched, without garbage collection."""
        timer = timeit.Timer(statement, globals=names)
        timer.timeit(3)
        number = max(1, math.ceil(LEAST_SECONDS / timer.timeit(1)))

        def measure():
            time.sleep(QUIET_SECONDS)
            timer.timeit(1)  # caches have grown cold meanwhile
            return timer.timeit(number) / number

        self.contenders[name] = measure

    def invite(self, name, build, *arguments, **options):
        """Add the step that a peer's builder returns, or note that its library is not installed."""
        try:
            step = build(*arguments, **options)
        except ModuleNotFoundError:
            self.missing.append(name)
        else:
            self.add(name, step)

    def run(self, benchmark, rounds=LEAST_ROUNDS):
        """Measure every contender `rounds` times or more.

        pytest-benchmark drives and records the first contender; the others run in the setup of its rounds. Contenders
        more than four times as slow as the first run only `LEAST_ROUNDS` times, so that close ones can run more often.
        """
        first, *others = self.contenders
        self.seconds = {name: [measure()] for name, measure in self.contenders.items()}
        turn = 0

        def run_others():
            nonlocal turn
            for name in others:
                slow = self.best(name) > 4 * self.best(first)
                if not slow or turn % (rounds // LEAST_ROUNDS) == 0:
                    self.seconds[name].append(self.contenders[name]())
            turn += 1

        def run_first():
            self.seconds[first].append(self.contenders[first]())

        gc.collect()
        benchmark.pedantic(run_first, setup=run_others, rounds=rounds)
        benchmark.extra_info["seconds"] = {
            name: {"minimum": min(s), "median": statistics.median(s), "measurements": len(s)}
            for name, s in self.seconds.items()
        }

    def best(self, name):
        return min(self.seconds[name])

    def ratio(self, name, reference, of=min):
        return of(self.seconds[name]) / of(self.seconds[reference])

    def both_ratios(self, name, reference):
        return f"{self.ratio(name, reference):.2f} ({self.ratio(name, reference, statistics.median):.2f})"

    def bar(self, name, reference, most):
        """Return the bar on the ratio of two contenders."""
        median = self.ratio(name, reference, statistics.median)
        return Bar(f"{name} / {reference}", self.ratio(name, reference), most, median=median)

    def table(self, *references):
        """Return the table of the shortest times and their ratios to those of the references (and of the medians)."""
        rows = [
            [name, duration(self.best(name)), *(self.both_ratios(name, reference) for reference in references)]
            for name in self.seconds
        ]
        rows += [[name, "not installed", *("" for _ in references)] for name in self.missing]
        return Table(self.title, ["", "time", *(f"/ {reference}" for reference in references)], rows)


@dataclasses.dataclass
class Bar:
    """What must be reached: a figure no greater than `most`; `median` tells how far to trust a figure of minima."""

    what: str
    figure: float
    most: float
    unit: str = "×"
    median: float | None = None
    met: bool = dataclasses.field(init=False)

    def __post_init__(self):
        self.met = self.figure <= self.most

    def __str__(self):
        verdict = "met" if self.met else "MISSED"
        median = "" if self.median is None else f" ({self.median:.3g})"
        return f"{self.what}: {self.figure:.3g}{median} {self.unit}, bar {self.most:g} {self.unit}: {verdict}"


@dataclasses.dataclass
class Table:
    """A title, text in columns, and the bars that its figures are held against."""

    title: str
    header: list[str]
    rows: list[list[str]]
    bars: list[Bar] = dataclasses.field(default_factory=list)

    def __str__(self):
        cells = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [self.title]
        for name, *others in cells:
            right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
            lines.append("  ".join(["  " + name.ljust(widths[0]), *right]).rstrip())
        return "\n".join([*lines, *(f"  -> {bar}" for bar in self.bars)])


def duration(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
