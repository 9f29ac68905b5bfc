"""Processes, or whatever else a user has, as a function like map; and what they answer, in the order of the questions.

A function like map may be anyone's. So every question carries a number, which comes back with its answer: answers in
another order, or of another kind, cannot be taken for those that were asked for.
"""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fallline.runtime import usable_cpus

__all__ = ["ask", "worker_map"]

LIKE_MAP = "Pass a function like map, such as the map of a pool or an executor."
AT_ONCE = 4  # parts of the work for each process, so that none waits long for the others


@contextmanager
def worker_map(owner: str, workers: Any) -> Iterator[Callable[..., Any] | None]:
    """Hold a function like map for as long as it is needed: the given one, or that of new processes; or raise.

    Parameters
    ----------
    owner : str
    workers : None, int or callable
        None and 1: no workers. -1: as many processes as this one may use CPUs.
    """
    if workers is None or callable(workers):
        yield workers
        return
    try:
        n = operator.index(workers)
    except TypeError:
        n = 0
    if isinstance(workers, bool) or (n != -1 and n < 1):
        cure = "Pass its map." if hasattr(workers, "map") else "Pass one of these."
        raise ValueError(
            f"{owner}(workers): must be a positive integer, -1 for all CPUs, or a function like map; got {workers!r}. "
            f"{cure}"
        )
    n = usable_cpus() if n == -1 else n
    if n == 1:
        yield None
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(n) as executor:

        def in_parts(evaluate: Callable[[Any], Any], questions: list[Any]) -> Iterator[Any]:
            return executor.map(evaluate, questions, chunksize=-(-len(questions) // (AT_ONCE * n)))

        yield in_parts


def ask(owner: str, workers: Callable[..., Any], evaluate: Callable[[Any], Any], questions: list[Any]) -> list[Any]:
    """Return what a function like map makes of questions, one answer for each and in their order, or raise.

    Raises
    ------
    ValueError
        If the workers do not do as map does, or cannot be sent f.
    RuntimeError
        If a process ended while it was at work.

    Examples
    --------
    >>> from fallline.workers import ask
    >>> ask("gradient", lambda f, questions: reversed([f(x) for x in questions]), abs, [-1, 2, -3])
    [1, 2, 3]
    """
    from concurrent.futures import BrokenExecutor

    numbered = _Numbered(owner, evaluate)
    try:
        answers = list(_iterable(owner, workers, numbered, list(enumerate(questions))))
    except BrokenExecutor as error:
        raise RuntimeError(
            f"{owner}(workers): must have processes that live until f returns; got {type(error).__name__} ({error}). "
            f"Look for what ends them (memory, a crash), and define f in a module that they can import."
        ) from error
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if _is_of_pickling(numbered, error):
            raise ValueError(
                f"{owner}(workers): must be sent an f and args that can be pickled; got {type(error).__name__} "
                f"({error}). Define f at the top level of a module, or pass the map of threads."
            ) from error
        raise
    return _in_order(owner, answers, len(questions))


class _Answer:
    """What f returned for a question, and the number of the question."""

    __slots__ = ("number", "value")

    def __init__(self, number: int, value: Any) -> None:
        self.number, self.value = number, value


class _Numbered:
    """Answer a numbered question, perhaps in another process or thread."""

    def __init__(self, owner: str, evaluate: Callable[[Any], Any]) -> None:
        self.owner, self.evaluate = owner, evaluate

    def __call__(self, *questions: Any) -> _Answer:
        if len(questions) != 1 or not isinstance(questions[0], tuple):
            raise ValueError(
                f"{self.owner}(workers): must call the function with one point at a time, as map does; got "
                f"{len(questions)} arguments. {LIKE_MAP}"
            )
        number, question = questions[0]
        return _Answer(number, self.evaluate(question))


def _iterable(owner: str, workers: Callable[..., Any], numbered: _Numbered, questions: list[Any]) -> Iterable[Any]:
    """Hand the questions to the workers; return what they return, or raise if it can hold no answers."""
    try:
        answers = workers(numbered, questions)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # the call itself
            raise ValueError(
                f"{owner}(workers): must take a function and a list of points, as map does; got TypeError ({error}). "
                f"{LIKE_MAP}"
            ) from error
        raise
    try:
        iterator: Iterable[Any] = iter(answers)
    except TypeError:
        raise ValueError(
            f"{owner}(workers): must return the results, as map does; got {type(answers).__name__}. Return a list of "
            f"them, once they are there."
        ) from None
    return iterator


def _is_of_pickling(numbered: _Numbered, error: Exception) -> bool:
    """Tell whether what was raised is what pickling f raises, not f."""
    try:
        pickle.dumps(numbered)
    except Exception as own:  # whatever a __reduce__ may raise
        return type(own) is type(error) and str(own) == str(error)
    return False


def _in_order(owner: str, answers: list[Any], n: int) -> list[Any]:
    """Return the values in the order of their questions, or raise unless there is one for each."""
    for answer in answers:
        if not isinstance(answer, _Answer):
            cure = "Wait for it, as .result() does." if hasattr(answer, "result") else LIKE_MAP
            raise ValueError(
                f"{owner}(workers): must return what the function returns that is handed to it; got "
                f"{type(answer).__name__}. {cure}"
            )
    values = {answer.number: answer.value for answer in answers}
    if not len(answers) == len(values) == n:
        got = len(answers) if len(answers) != n else f"{n - len(values)} of them twice"
        raise ValueError(
            f"{owner}(workers): must return one result for each point, as map does; got {got} for {n}. {LIKE_MAP}"
        )
    return [values[number] for number in range(n)]
