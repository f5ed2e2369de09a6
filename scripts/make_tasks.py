"""Write docs/tasks.md: what every task takes and gives, its options, and the backends that serve it.

All of it is read from the tables the package itself runs by: `SCHEMAS`, `KINDS`, the typed dicts, and the backends.
With ``--check`` nothing is written, and the exit status is 1 where the page differs.
"""

import sys
from pathlib import Path
from typing import get_type_hints

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modelscope_ext import BACKENDS, Backend  # noqa: E402
from modelscope_ext.models import inputs  # noqa: E402
from modelscope_ext.models.backends._transformers.tasks import GENERATION  # noqa: E402
from modelscope_ext.models.inputs import KINDS  # noqa: E402
from modelscope_ext.models.schemas import SCHEMAS, Schema, schema_of  # noqa: E402
from modelscope_ext.models.tasks import TASKS  # noqa: E402
from modelscope_ext.models.types import shown, typed_dicts  # noqa: E402

PAGE = ROOT / "docs" / "tasks.md"
FIELDS = {"nlp": "Text", "cv": "Images and video", "audio": "Sound", "multi-modal": "Several kinds at once"}

HEAD = """# Tasks

Written by `scripts/make_tasks.py` from the tables the package runs by; a test compares.

One input gives one output, a list a list (also at length one), a generator or data set a generator; `batch_size=` says
how many run at once, `raw=True` gives the library's own outputs instead. Outputs are the same whatever the backend.
They are typed dicts of `modelscope_ext.models.types`, for your own annotations:

```python
from modelscope_ext.models.types import Detection


def surest(found: list[Detection]) -> str:
    return max(found, key=lambda one: one["score"])["label"]
```

## Inputs

{kinds}

A SOURCE that is a URL is fetched only where you say so, for a pipeline or for one call:
`pipe("https://example.org/cats/1.png", allow_sources=["https://example.org/cats/"])` allows that folder,
`"https://example.org"` the host, a whole URL itself. Redirects stay within what is allowed, addresses inside your own
network are refused unless you name the address itself, and `limits={{"input_bytes": ...}}` bounds the size. `data:`
URLs need no leave. A dict of one input may use ModelScope's names, and those of data sets, as the tables of
`modelscope_ext/models/inputs.py` say.
"""


def kinds() -> str:
    """Return the table of the module that brings inputs into one form."""
    text = str(inputs.__doc__)
    table = text[text.index("| kind") : text.index("A list is a batch")]
    return table.replace("``", "`").strip()


def backends() -> list[Backend]:
    return [BACKENDS.get(name) for name in BACKENDS.names() if name != "transformers.js"]


def takes(schema: Schema) -> str:
    if schema.input != "fields":
        more = f"; by name: {', '.join(f'`{name}`' for name in schema.fields)}" if schema.fields else ""
        return KINDS[schema.input].says + more
    left = {name: " (may be left out)" if kind.endswith("?") else "" for name, kind in schema.fields.items()}
    fields = (f"`{name}`: {kind.rstrip('?')}{left[name]}" for name, kind in schema.fields.items())
    other: dict[str, list[str]] = {}
    for alias, name in schema.aliases.items():
        other.setdefault(name, []).append(alias)
    said = "; ".join(f"{', '.join(f'`{a}`' for a in names)} for `{name}`" for name, names in other.items())
    alone = f"`{schema.lead}` alone, or " if schema.lead else ""
    return f"{alone}a dict, or these names as arguments: {', '.join(fields)}" + (f" (also {said})" if said else "")


def options(backend: Backend, task: str) -> str:
    names = [*backend.call_options.get("*", ()), *backend.call_options.get(task, ())]
    own = [name for name in names if name not in (*GENERATION, "batch_size")]
    generates = [name for name in names if name in GENERATION]
    said = [f"`{name}`" for name in dict.fromkeys(own)]
    if len(generates) > len(GENERATION) // 2:
        said.append("those of [generation](#options-of-generation)")
    else:
        said += [f"`{name}`" for name in generates]
    return ", ".join(said) or "none"


def section(task: str, serving: list[Backend]) -> list[str]:
    schema = schema_of(task)
    lines = [f"### {task}", "", f"- Input: {takes(schema)}.", f"- Output: `{shown(schema.output)}`."]
    if schema.arguments:
        lines.append(f"- Further arguments by position: {', '.join(f'`{name}`' for name in schema.arguments)}.")
    lines += [f"- `{backend.name}`, options: {options(backend, task)}." for backend in serving]
    return [*lines, ""]


def outputs() -> list[str]:
    """Return the table of all typed dicts."""
    found = dict.fromkeys(one for schema in SCHEMAS.values() for one in typed_dicts(schema.output))
    lines = ["| type | keys | what it is |", "|---|---|---|"]
    for one in sorted(found, key=lambda kind: kind.__name__):
        optional = one.__optional_keys__
        keys = (
            f"`{name}`: {shown(kind).replace('|', 'or')}{' (may be absent)' if name in optional else ''}"
            for name, kind in get_type_hints(one).items()
        )
        lines.append(f"| `{one.__name__}` | {'; '.join(keys)} | {' '.join(str(one.__doc__).split())} |")
    return [*lines, "", "`Image` is a PIL image, `FloatArray` a float32 array of numpy, `Mask` a boolean one.", ""]


def page() -> str:
    every = backends()
    served = {task: [b for b in every if task in b.tasks] for task in SCHEMAS if any(task in b.tasks for b in every)}
    lines = [HEAD.format(kinds=kinds())]
    for field in dict.fromkeys((*FIELDS, *(TASKS[task] for task in served))):
        here = [task for task in served if TASKS[task] == field]
        if here:
            lines += [f"## {FIELDS.get(field, field.capitalize())}", ""]
        for task in sorted(here):
            lines += section(task, served[task])
    lines += ["## Types of outputs", "", *outputs(), "## Options of generation", ""]
    lines += [", ".join(f"`{name}`" for name in GENERATION) + ".", ""]
    lines += ["`seed` is ours: it sets the random numbers of this call only.", ""]
    lines += ["## Tasks without a schema", "", "Taken and given as their library does.", ""]
    for backend in every:
        rest = [task for task in backend.tasks if task not in SCHEMAS]
        if rest:
            lines += [f"- `{backend.name}`: {', '.join(sorted(rest))}."]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    new = page()
    if "--check" in sys.argv:
        return int(not PAGE.is_file() or PAGE.read_text("utf-8") != new)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
