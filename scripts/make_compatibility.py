"""Write the tables of docs/compatibility.md from the backends themselves and from the pinned environments.

With ``--check`` nothing is written, and the exit status is 1 where the page differs.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modelscope_ext import BACKENDS  # noqa: E402

PAGE = ROOT / "docs" / "compatibility.md"
ENVIRONMENTS = {"core": "core.txt", "pt": "pt.txt"}
SHOWN = ("torch", "transformers", "sentence-transformers", "accelerate", "onnxruntime", "tokenizers", "numpy", "pillow")


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / ENVIRONMENTS[name]).read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M))


def versions() -> str:
    found = {name: pins(name) for name in ENVIRONMENTS}
    lines = ["| package | " + " | ".join(f"`{n}`" for n in found) + " |", "|---" * (len(found) + 1) + "|"]
    lines += [f"| {p} | " + " | ".join(found[n].get(p, "absent") for n in found) + " |" for p in SHOWN]
    return "\n".join(lines)


def tasks() -> str:
    backends = [BACKENDS.get(n) for n in BACKENDS.names() if n != "transformers.js"]
    lines = ["| task | " + " | ".join(f"`{b.name}`" for b in backends) + " |", "|---" * (len(backends) + 1) + "|"]
    for task in sorted({t for b in backends for t in b.tasks}):
        lines.append(f"| {task} | " + " | ".join("yes" if task in b.tasks else "" for b in backends) + " |")
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def main() -> int:
    old = PAGE.read_text("utf-8")
    new = old
    for mark, table in (("versions", versions()), ("tasks", tasks())):
        block = f"<!-- {mark} -->\n{table}\n<!-- /{mark} -->"
        new = re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _, b=block: b, new, flags=re.S)
    if "--check" in sys.argv:
        return int(new != old)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
