"""From numbers to causes: the hypotheses in order, and the ranking of what they find."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import arrangement, entries, groups, logits, outputs, penalties, scales, subsets
from . import layers as dense
from .catalogue import CATALOGUE, Block, Cause, Setting
from .evidence import Finding, Part, Scene, Told, join, listed, part_of

MOST = 5  # causes returned
FAR = 0.3  # one whose score is so much lower is not worth naming beside the best

OF_ALL: list[Callable[[Part, Scene], Iterator[Finding]]] = [
    *scales.OF_ALL,
    *penalties.OF_ALL,
    *entries.OF_ALL,
]  # of joined blocks too
OF_BLOCK: list[Callable[[Part, Scene], Iterator[Finding]]] = [
    *OF_ALL,
    *scales.OF_BLOCK,
    *penalties.OF_BLOCK,
    *arrangement.OF_BLOCK,
    *entries.OF_BLOCK,
    *subsets.OF_BLOCK,
    *groups.OF_BLOCK,
    *logits.OF_BLOCK,
]
OF_BLOCKS: list[Callable[[Scene], Iterator[Told]]] = [
    *scales.OF_BLOCKS,
    *penalties.OF_BLOCKS,
    *arrangement.OF_BLOCKS,
    *groups.OF_BLOCKS,
]


def find_causes(blocks: Sequence[Block], setting: Setting) -> list[Cause]:
    """Find the typical mistakes that explain the difference of two gradients exactly.

    Parameters
    ----------
    blocks : sequence of Block
        All parameter arrays; those that are right are evidence too.
    setting : Setting
        What else is known of the function.

    Returns
    -------
    list of Cause
        At most five, the simplest and most specific first. Empty when no mistake of the catalogue fits within the
        bounds of error, or when the numbers are too few or too inaccurate to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from fallline.causes import Block, Setting, find_causes
    >>> numeric = np.array([0.5, -1.0, 2.0])
    >>> block = Block("w", np.ones(3), 7 * numeric, numeric, np.full(3, 1e-10), wrong=True)
    >>> cause = find_causes([block], Setting(1.0, sizes={"rows of X": 7}))[0]
    >>> print(cause.number, cause.name, cause.text)
    4 missing-mean g = 7.0000·D to ...e-16, and X has 7 rows: the mean over the batch is missing.
    """
    parts = [part_of(b) for b in blocks]
    wrong = [p for p, b in zip(parts, blocks, strict=True) if b.wrong and p.off.any()]
    if not wrong:
        return []
    scene = Scene(parts, wrong, join(wrong), setting)
    with np.errstate(all="ignore"):
        found = _of_all(scene)
        if not any(cause.score > 1.87 for cause in found):  # nothing specific explains everything
            found += _of_some(scene)
        if len(wrong) > 1:
            found += _of_each(scene)
    best: dict[tuple[int, str | None], Cause] = {}
    for cause in sorted(found, key=lambda c: -c.score):
        best.setdefault((cause.number, cause.block), cause)
    ranked = list(best.values())
    return [cause for cause in ranked[:MOST] if cause.score > ranked[0].score - FAR]


def _cause(finding: Finding, block: str | None, place: str, score: float) -> Cause:
    return Cause(finding.number, CATALOGUE[finding.number][0], block, f"{place}{finding.text}.", score)


def _of_all(scene: Scene) -> list[Cause]:
    """Try what can explain all wrong blocks at once."""
    whole = scene.whole
    tried = OF_ALL if len(scene.wrong) > 1 else OF_BLOCK
    block = whole.name if scene.spared and len(scene.wrong) == 1 else None
    place = f"In {whole.name}, " if scene.spared else ""
    return [_cause(f, block, place, 1 + f.level) for hypothesis in tried for f in hypothesis(whole, scene)]


def _of_some(scene: Scene) -> list[Cause]:
    """Try what looks at several blocks together."""
    told = [t for hypothesis in OF_BLOCKS for t in hypothesis(scene)]
    found = dense.layers(scene)
    told += [t for hypothesis in (*dense.OF_LAYERS, *outputs.OF_LAYERS) for t in hypothesis(scene, found)]
    return [_told(t, scene) for t in told]


def _told(told: Told, scene: Scene) -> Cause:
    names = [p.name for p in told.parts]
    every = len(names) == len(scene.wrong)
    block = None if every and not (scene.spared and len(names) == 1) else names[0]
    place = f"In {listed(names)}, " if scene.spared or not every else ""
    return _cause(told.finding, block, place, told.finding.level + every)


def _of_each(scene: Scene) -> list[Cause]:
    """Try every block alone; what every wrong block has in common explains them all."""
    found: dict[int, dict[str, Finding]] = {}
    for part in scene.wrong:
        for f in (f for hypothesis in OF_BLOCK for f in hypothesis(part, scene)):
            known = found.setdefault(f.number, {})
            if part.name not in known or known[part.name].level < f.level:
                known[part.name] = f
    return [cause for blocks in found.values() for cause in _shared(blocks, scene)]


def _shared(blocks: dict[str, Finding], scene: Scene) -> Iterator[Cause]:
    """Yield the causes with one number, found in these blocks."""
    first, *rest = blocks
    if rest and len(blocks) == len(scene.wrong):
        likewise = f"In {first} (and likewise in {listed(rest)}), "
        yield _cause(blocks[first], None, likewise, 0.95 + min(f.level for f in blocks.values()))
    else:
        yield from (_cause(f, name, f"In {name}, ", f.level) for name, f in blocks.items())
