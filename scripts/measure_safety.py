"""Load twenty hostile folders with modelscope, transformers, diffusers and this package, and write docs/safety.md.

    python scripts/measure_safety.py [--only CASE] [--json FILE]

Each library has a process of its own, each load a child of it that is bounded and watched (`watched_load.py`). No
library is given any trust. Needs Linux, the libraries of requirements/pt.txt, and for a model of modelscope's own
einops, matplotlib and opencv-python.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "safety.md"
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from watched_load import PROCESSOR, load  # noqa: E402

from tests.safety.cases import CASES, SAFE, write  # noqa: E402
from tests.safety.invented import INVENTED  # noqa: E402

#: What ends a load by accident, not by a check.
ACCIDENTS = ("RecursionError", "MemoryError", "AttributeError", "IndexError", "KeyError", "TypeError", "PanicException")


@dataclass(frozen=True)
class Row:
    """A case of `tests/safety`.

    Attributes:
        case: Its id.
        says: What lies in the folder, for readers.
        kind: What is loaded, a key of `CALLS`; a library without such a call does not read the file.
        base: The harmless model of `tests.tiny` that the hostile files are laid into; "" for none.
        more: Further files, without which the library would not come as far as the hostile one.
        without: Files of the case that real folders of this sort do not have.
    """

    case: str
    says: str
    kind: str = "model"
    base: str = "bert"
    more: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


_HDFORMER = {"framework": "pytorch", "task": "body-3d-keypoints", "model": {"type": "hdformer"}}
ROWS = (
    Row("A01", "`config.json`: `auto_map` names the folder's `evil.py`"),
    Row("A02", "`tokenizer_config.json` names `evil.py`, and says `trust_remote_code` itself", "tokenizer"),
    Row("A07", "`configuration.json`: `allow_remote`, beside a `ms_wrapper.py`", "pipeline"),
    Row("A10", "`configuration.json` asks for the plug-in `pai-easycv`", "pipeline"),
    Row("A17", "`model_index.json` names `pipeline.py`", "diffusion", "diffusion"),
    Row("A20-os", "`model_index.json`: the component `os.system`", "diffusion", "diffusion"),
    Row("B01", "`pytorch_model.bin` is a pickle that calls `os.system`"),
    Row("B03-unet", "`unet/diffusion_pytorch_model.bin` is one", "diffusion", "diffusion"),
    Row("B07-mean_std_2d.npy", "`mean_std_2d.npy` of a body model is one", "native", "",
        {"configuration.json": _HDFORMER}),
    Row("C01", "the index of shards names `../../outside/x.safetensors`"),
    Row("C04", "`model.safetensors` is a link out of the folder"),
    Row("C06", "`unet` is a link out of the folder", "diffusion", "diffusion"),
    Row("D01", "`adapter_config.json`: the base is `attacker/other`", "model", "",
        {"adapter_model.safetensors": SAFE}, ("config.json", "model.safetensors")),
    Row("D01+audio", "`processor_config.json`: the audio tokenizer is `attacker/other`", "processor"),
    Row("E01", "`config.json`: 200 000 brackets deep"),
    Row("E05", "`config.json`: `model_type` twice"),
    Row("E14", "`config.yaml`: 9^8 strings by aliases, in 342 bytes", "config"),
    Row("E22", "`config.json`: 20 000 000 labels"),
    Row("E23-bert", "`config.json`: 1 000 000 layers"),
    Row("E25-blocks", "`unet/config.json`: a block 2^20 wide", "diffusion", "diffusion"),
)  # fmt: skip


def _auto(library: str, name: str) -> Callable[[str], object]:
    return lambda folder: getattr(importlib.import_module(library), name).from_pretrained(folder)


def _autos(library: str) -> dict[str, Callable[[str], object]]:
    return {
        "model": _auto(library, "AutoModelForMaskedLM"),
        "tokenizer": _auto(library, "AutoTokenizer"),
        "processor": _auto(library, "AutoProcessor"),
    }


def _native(folder: str) -> object:
    from modelscope.models import Model

    return Model.from_pretrained(folder)


def _pipeline(folder: str) -> object:
    from modelscope.pipelines import pipeline

    return pipeline("fill-mask", model=folder)


def _config(folder: str) -> object:
    from modelscope.utils.config import Config

    return Config.from_file(f"{folder}/config.yaml")


def _our_pipeline(folder: str) -> object:
    from modelscope_ext import pipeline

    return pipeline(model=folder)


def _our_config(folder: str) -> object:
    from modelscope_ext import Config

    return Config.from_file(f"{folder}/config.yaml")


OURS = "modelscope_ext"
KINDS = ("model", "tokenizer", "processor", "diffusion", "native", "pipeline")
#: Library -> kind -> the call that its users make.
CALLS: Mapping[str, Mapping[str, Callable[[str], object]]] = {
    "modelscope": {
        **_autos("modelscope"),
        "diffusion": _auto("modelscope", "DiffusionPipeline"),
        "native": _native,
        "pipeline": _pipeline,
        "config": _config,
    },
    "transformers": _autos("transformers"),
    "diffusers": {"diffusion": _auto("diffusers", "DiffusionPipeline")},
    OURS: {**dict.fromkeys(KINDS, _our_pipeline), "config": _our_config},
}
#: How each was called, for readers.
CALLED = {
    "modelscope": "`AutoModelForMaskedLM`, `AutoTokenizer`, `AutoProcessor`, `DiffusionPipeline`, which it takes from"
    " the two libraries beside it, `.from_pretrained(folder)`; its own models `Model.from_pretrained(folder)`; where"
    " `configuration.json` decides, `pipeline(task, folder)`; YAML `Config.from_file(file)`.",
    "transformers": "`AutoModelForMaskedLM`, `AutoTokenizer` or `AutoProcessor`, `.from_pretrained(folder)`.",
    "diffusers": "`DiffusionPipeline.from_pretrained(folder)`.",
    OURS: "`pipeline(model=folder)`; YAML `Config.from_file(file)`.",
}


# --- the folders -----------------------------------------------------------------------------------------------------


def prepare(row: Row, place: Path, bases: Mapping[str, Path]) -> Path:
    """Write the row's folder: the hostile files, and a harmless model wherever they leave room."""
    case = next(case for case in (*CASES, *INVENTED) if case.id == row.case)
    folder = case.write(place / "at" / "model")
    write(folder, row.more)
    for name in row.without:
        (folder / name).unlink()
    if row.base:
        shutil.copytree(bases[row.base], place / "outside", dirs_exist_ok=True)
        shutil.copyfile(bases["bert"] / "model.safetensors", place / "outside" / "x.safetensors")
        for path in sorted(bases[row.base].rglob("*")):
            if path.is_file():
                _lay(path, folder / path.relative_to(bases[row.base]))
    return folder


def _lay(base: Path, here: Path) -> None:
    """Put a file of the harmless model where none is, under the keys of the hostile one, for weights that stand in."""
    here.parent.mkdir(exist_ok=True)
    weights = [path.name for path in here.parent.iterdir() if path.suffix in (".safetensors", ".bin")]
    if here.exists() and not here.is_file():
        return
    if here.suffix == ".safetensors" and weights and not (here.is_file() and here.read_bytes() == SAFE):
        return
    if here.suffix == ".json" and here.is_file():
        text = here.read_text("utf-8").rstrip()
        if not text.startswith("{"):
            return
        hostile = json.loads(text)
        more = json.dumps({key: value for key, value in json.loads(base.read_bytes()).items() if key not in hostile})
        here.write_text(f"{text[:-1]}, {more[1:]}", "utf-8")  # as text: a key that stands there twice stays there twice
    else:
        here.write_bytes(base.read_bytes())


# --- all loads -------------------------------------------------------------------------------------------------------


def library(name: str, rows: tuple[Row, ...], temporary: Path) -> dict[str, dict[str, Any]]:
    """Return what one library does with every folder, once it has loaded the harmless ones here."""
    from tests.tiny import diffusers_, transformers_

    bases = {"bert": transformers_.build("fill-mask", temporary / "bert")}
    bases["diffusion"] = diffusers_.build("stable-diffusion", temporary / "diffusion")
    for kind, base in (("model", "bert"), ("tokenizer", "bert"), ("diffusion", "diffusion")):
        if kind in CALLS[name]:
            CALLS[name][kind](str(bases[base]))
            seen = load(CALLS[name][kind], bases[base], temporary)
            if any(seen.values()):
                raise SystemExit(f"{name}: the harmless folder gives {seen}")
    importlib.import_module("matplotlib.font_manager")  # asks a program for the fonts, where it is first used
    answers = {}
    for row in rows:
        call = CALLS[name].get(row.kind)
        if call is not None:
            folder = prepare(row, temporary / row.case, bases)
            answers[row.case] = load(call, folder, temporary)
            print(name, row.case, told(answers[row.case]), file=sys.stderr, flush=True)
    return answers


def told(answer: Mapping[str, Any] | None) -> str:
    """Return one cell of the table."""
    if answer is None:
        return "does not read it"
    error, ended = "".join(answer["error"]), answer["ended"]
    asked = re.search(r"tried to allocate (\d+) bytes", "".join(answer["text"]))
    pip = any("'pip'" in one for one in answer["program"])
    own = any(one == "evil.py" or "EVIL_MARK" in one for one in answer["program"])
    words = [
        word
        for word, holds in (
            ("**ran pip**", pip),
            ("**ran its code**", own),
            ("**started a program**", answer["program"] and not pip and not own),
            ("**asked a server**", answer["server"]),
            ("**opened a file outside**", answer["outside"]),
            (f"**hung ({PROCESSOR} s)**", ended == "hung" and not answer["server"]),
            ("**took > 1 GB**", ended == "memory"),
            (f"**tried to take {int(asked[1]) / 1e9 if asked else 0:,.0f} GB**", asked),
            (f"**crashed ({ended})**", ended.startswith("signal")),
            (f"**crashed ({error})**", error in ACCIDENTS),
        )
        if holds
    ]
    if words:
        return ", ".join(words)
    return f"refused: {error}" if error else "loaded"


def measure(rows: tuple[Row, ...]) -> dict[str, Any]:
    """Start each library, and return the answers and the versions."""
    from importlib.metadata import version

    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        for name in CALLS:
            temporary = Path(place, name)
            temporary.mkdir()
            job = [sys.executable, "-W", "ignore", __file__, "--library", name, "--place", str(temporary)]
            home = {key: str(temporary / "home") for key in ("HF_HOME", "MODELSCOPE_CACHE", "HOME")}
            done = subprocess.run(
                [*job, *(word for row in rows for word in ("--only", row.case))],
                env={**os.environ, **home, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                cwd=temporary, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            answers[name] = json.loads(done.stdout.splitlines()[-1])
    versions = {name: version(name) for name in (*CALLS, "torch", "peft")}
    return {"date": time.strftime("%Y-%m-%d"), "versions": versions, "answers": answers}


_HEAD = """\
# Hostile folders, and what loaders do with them

`python scripts/measure_safety.py` wrote this page, in one run on {date} (torch {torch}, peft {peft}).
Twenty folders of `tests/safety`, each laid into a harmless model that all of these libraries load, are loaded by the
call that a library's users make, without any trust: each in a process of its own, without network, which is watched for
programs, for requests to servers and for files outside the folder. What a stranger's folder should not be able to bring
about is in bold.

- *loaded*: nothing forbidden was seen, and no error came.
- *refused* names the error in which the load ended, whether the library saw the danger or merely got no further.
- *crashed* is an error that no check raises, such as `RecursionError`.
- *hung* is more than {seconds} s of processor, *took > 1 GB* as much memory beyond what the library has itself; such a
  load was ended there.
- *does not read it*: the library has no use for such a file.

"""
_END = """
How each was called, with nothing but the folder:

{calls}
The rows are the cases {cases}.

[SECURITY.md](../SECURITY.md) says what this package promises, and how it is tried on some 330 such folders;
`modelscope-ext inspect --security MODEL` says of a model, without loading it, what is in it.
"""


def page(run: Mapping[str, Any]) -> str:
    """Return docs/safety.md."""
    versions = run["versions"]
    lines = ["| the folder holds | " + " | ".join(f"{name} {versions[name]}" for name in CALLS) + " |"]
    lines.append("|" + "---|" * (1 + len(CALLS)))
    for row in ROWS:
        cells = (told(run["answers"][name].get(row.case)) for name in CALLS)
        lines.append(f"| {row.says} | " + " | ".join(cells) + " |")
    head = _HEAD.format(date=run["date"], torch=versions["torch"], peft=versions["peft"], seconds=PROCESSOR)
    calls = "".join(f"- {name}: {called}\n" for name, called in CALLED.items())
    return head + "\n".join(lines) + "\n" + _END.format(calls=calls, cases=", ".join(f"`{row.case}`" for row in ROWS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="these rows, without the page")
    parser.add_argument("--json", type=Path, help="write the answers here too")
    parser.add_argument("--library", choices=CALLS, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    rows = tuple(row for row in ROWS if not args.only or row.case in args.only)
    if args.library:
        print("\n" + json.dumps(library(args.library, rows, args.place)))
        return 0
    run = measure(rows)
    if args.json:
        args.json.write_text(json.dumps(run, indent=1), encoding="utf-8")
    if not args.only:
        PAGE.write_text(page(run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
