"""`modelscope-ext convert MODEL OUTPUT --to LIBRARY`: turn the weights of one library into another's, bit by bit.

No framework is needed, and memory does not grow with the model. OUTPUT appears when it is whole; a command that fails,
or is interrupted, leaves nothing behind.
"""

from __future__ import annotations

import argparse
from typing import Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output, size
from modelscope_ext.cli.progress import Steps
from modelscope_ext.utils.text import printable

__all__ = ["EXAMPLES", "configure", "run"]

EXAMPLES = """\
what is converted:
  --to mindformers   Llama and Qwen2 of transformers (safetensors) for mindformers, MindSpore's library of language
                     models: config.json in its keys and mindspore_model.ckpt
  --to transformers  the way back: a yaml or config.json of mindformers with its .ckpt becomes config.json and
                     model.safetensors
  Every tensor keeps its bits and its dtype, the tokenizer's files are copied, configuration.json is written.

examples:
  modelscope-ext convert ./qwen2 ./qwen2-ms --to mindformers
  modelscope-ext convert ./llama-ms ./llama --to transformers --json
  modelscope-ext convert ./llama ./llama-ms --to mindformers --max-shard-size 1GB --overwrite"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to make")
    parser.add_argument("--to", required=True, metavar="LIBRARY", help="mindformers or transformers")
    parser.add_argument("--max-shard-size", metavar="SIZE", default="2GB",
                        help="largest weight file (default: 2GB); MindSpore reads a file whole")  # fmt: skip
    parser.add_argument("--yaml", metavar="FILE", help="which of several yaml files of mindformers describes the model")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT where it is an earlier conversion")
    parser.add_argument("--subfolder", help="folder inside the model that holds it")
    parser.add_argument("--variant", help="weight variant, e.g. fp16")


def run(args: argparse.Namespace, output: Output) -> int:
    """Convert, and print where and how large the copy is."""
    from modelscope_ext.models.convert import convert

    where: dict[str, Any] = {n: v for n in ("subfolder", "variant") if (v := getattr(args, n)) is not None}
    output.show_logs()
    with Steps(output) as steps:
        done = convert(
            args.model,
            args.output,
            to=args.to,
            overwrite=args.overwrite,
            max_shard_size=args.max_shard_size,
            yaml=args.yaml,
            progress=steps,
            **where,
        )
    if output.json:
        output.document(done)
        return exits.OK
    output.heading(done.path)
    rows = [
        ("for", f"{done.to} ({done.framework}), made of a {done.model_type}"),
        ("tasks", ", ".join(done.tasks)),
        ("weights", f"{done.tensors} tensors, {', '.join(f'{n} {d}' for d, n in done.dtypes.items())}"),
        ("size", f"{size(done.bytes)} in {len(done.files)} files"),
    ]
    if done.left_out:
        rows.append(("left out", f"{len(done.left_out)} tensors that are computed: {', '.join(done.left_out[:3])}"))
    output.table(rows, styles=("dim",))
    output.note(f"run it: modelscope-ext run {printable(args.output)} ...")
    return exits.OK
