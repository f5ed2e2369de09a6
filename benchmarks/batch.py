"""Many texts of natural lengths through one model, at the same batch size: ours and the library's own.

Both models are loaded before, so that only the work itself is measured; their answers are compared first.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks.measure import Timer, each, repeated
from benchmarks.models import make, words
from tests.equality import assert_close

__all__ = ["batch", "batch_growth", "natural"]

#: Words a text has at least and at most. In between the logarithm is spread normally, as in reviews and mails.
_SHORTEST, _LONGEST = 3, 400


def natural(count: int) -> list[str]:
    """Return texts whose lengths vary as those people write: half of them have fewer than 30 words, few have 200."""
    rng, known = random.Random(1), words()
    lengths = (min(max(int(rng.lognormvariate(3.4, 0.8)), _SHORTEST), _LONGEST) for _ in range(count))
    return [" ".join(rng.choices(*known, k=length)) for length in lengths]


def batch(scratch: Path, *, count: int, size: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Return both sides for `count` texts, `size` at a time."""
    import transformers

    from modelscope_ext import pipeline

    folder, texts = make("bert", scratch / "bert"), natural(count)
    ours = pipeline(model=folder, device="cpu")
    theirs = transformers.pipeline("text-classification", folder, device="cpu")

    def run(pipe: Any) -> Any:
        return pipe(texts, batch_size=size, truncation=True)

    assert_close(run(ours), run(theirs))
    return (
        (f"pipe({count} texts, batch_size={size})", repeated(lambda: run(ours), rounds=1)),
        ("transformers.pipeline, the same call", repeated(lambda: run(theirs), rounds=1)),
    )


def batch_growth(scratch: Path, *, few: int, many: int) -> tuple[tuple[str, Timer], tuple[str, Timer]]:
    """Return the time of one text among `many` and among `few`, through a model so small that the rest shows."""
    from modelscope_ext import pipeline

    pipe = pipeline(model=make("tiny-bert", scratch / "tiny-bert"), device="cpu")
    sides = []
    for count in (many, few):
        texts = natural(count)
        timer = repeated(lambda t=texts: pipe(t, batch_size=32, truncation=True), rounds=1)
        sides.append((f"pipe({count:,} texts), for each", each(timer, count)))
    return sides[0], sides[1]
