"""Count false refusals: what the default limits and gate A say about real repositories.

    python scripts/measure_refusals.py ROWS.jsonl

Each row is a repository as in `measure_hubs.py`. Nothing may be refused but code of the repository's own, sources that
it leads to, and classes of packages that the library does not have; every refusal is listed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure_hubs import texts_of

from modelscope_ext.errors import NotAModel, SafetyError
from modelscope_ext.metadata.evidence import collect
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models import gate
from modelscope_ext.models.gate.shapes import check_shapes
from modelscope_ext.models.resolve import Asked, decide
from modelscope_ext.safety.grants import Grants

#: Deserved: code and sources that are the caller's to permit, classes of packages that no library has.
DESERVED = ("RC", "RD", "UT")


def refusals(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (code, message) of everything that is refused of one repository."""
    sizes = {file["name"]: file.get("size") or 0 for file in row["files"]}
    snapshot = Snapshot.from_mapping(texts_of(row), sizes)
    try:
        evidence = collect(snapshot)
        resolution = decide(evidence, Asked(None, None, None, evidence), installed=False)
        found = list(gate.refusals(resolution, evidence, snapshot, Grants()))
        configs = {name: doc for name, doc in evidence.documents.items() if name.rpartition("/")[2] == "config.json"}
        weights = sum(sizes[name] for name in resolution.weights.files if name in sizes)
        if weights:
            check_shapes(configs, weights, None, source=row["id"])
    except NotAModel:
        return []
    except SafetyError as error:
        found = [error]
    return [(str(error.code), str(error)) for error in found]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines() if line.strip()]
    counts: Counter[str] = Counter()
    for row in rows:
        for code, text in refusals(row):
            counts[code] += 1
            print(f"{row['id']}: {code}: {text}")
    wrong = sum(count for code, count in counts.items() if code not in DESERVED)
    print(f"{len(rows)} repositories: {dict(counts)}; {wrong} false refusals")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
