"""`modelscope-ext env`: what is installed and which settings are in effect, for a report of a fault. No secrets."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Mapping
from typing import Any

from modelscope_ext import __version__
from modelscope_ext.cli import exits
from modelscope_ext.cli.output import Output
from modelscope_ext.utils.processors import processors

__all__ = ["EXAMPLES", "configure", "run", "settings"]

EXAMPLES = """\
examples:
  modelscope-ext env
  modelscope-ext env --kernels
  modelscope-ext env --json"""

#: Distributions worth naming in a report -> the oldest version without a known hole, or an empty string.
LIBRARIES = {
    "torch": "2.10", "transformers": "5.3", "diffusers": "0.38", "sentence-transformers": "6.0", "peft": "",
    "accelerate": "", "safetensors": "", "tokenizers": "", "huggingface-hub": "", "modelscope": "",
    "modelscope-hub": "", "openmind-hub": "", "requests": "", "mindspore": "", "mindone": "", "mindformers": "",
    "onediff": "", "openmind": "",
    "onnxruntime": "", "optimum": "", "tensorflow": "", "jax": "", "paddlepaddle": "", "numpy": "", "pillow": "",
    "PyYAML": "", "addict": "", "yapf": "", "packaging": "", "rich": "",
    "model-signing": "",
}  # fmt: skip

#: Older lines that received the same corrections.
PATCHED = {"transformers": "4.57."}

#: Environment variables that this package or a library below it obeys.
VARIABLES = (
    "MODELSCOPE_EXT_FRAMEWORK", "MODELSCOPE_EXT_NO_REMOTE_CODE", "MODELSCOPE_EXT_HUB", "MODELSCOPE_EXT_OFFLINE",
    "MODELSCOPE_EXT_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "MODELSCOPE_CACHE", "MODELSCOPE_HOME",
    "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_LOG_LEVEL", "OPENMIND_HUB_ENDPOINT",
    "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NO_COLOR", "TERM",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE",
)  # fmt: skip

_BELOW = "below {}, the oldest release without a known hole: upgrade before you load what you do not trust"
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
_USER = re.compile(r"//[^/@\s]+@")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="import MindSpore and try which of its kernels are missing on a CPU and replaced (some ten seconds)",
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the report; nothing is imported to find the versions."""
    system = {
        "modelscope-ext": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "processors": str(processors()),
    }
    installed = _libraries()
    variables = settings(os.environ)
    network, hubs = _network(), _hubs()
    kernels = _kernels(args.kernels) if installed["mindspore"]["version"] else {}
    if output.json:
        document = {"system": system, "libraries": installed, "network": network, "hubs": hubs, "variables": variables}
        output.document({**document, "mindspore_cpu": kernels})
        return exits.OK
    output.heading("system")
    output.table(list(system.items()), styles=("dim",))
    output.heading("libraries")
    output.table(
        [(name, row["version"] or "-", row["note"]) for name, row in installed.items()], styles=("", "cyan", "yellow")
    )
    output.heading("hubs")
    output.table(list(network.items()), styles=("dim",))
    output.table([(title, *row.values()) for title, row in hubs.items()], styles=("", "cyan", "", "dim"))
    if kernels:
        output.heading("MindSpore on a CPU")
        output.table([(name, str(value)) for name, value in kernels.items()], styles=("dim",))
    output.heading("settings")
    output.table(list(variables.items()) or [("(none set)",)], styles=("dim",))
    return exits.OK


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables in effect; of a secret only that it is set, of an address not its user and password.

    Example:
        >>> settings({"HF_TOKEN": "hf_abc", "HF_ENDPOINT": "https://me:pw@hub.example", "OTHER": "x"})
        {'HF_ENDPOINT': 'https://***@hub.example', 'HF_TOKEN': '(set)'}
    """
    present = ((name, environ[name]) for name in VARIABLES if environ.get(name))
    return {name: "(set)" if _SECRET.search(name) else _USER.sub("//***@", value) for name, value in present}


def _network() -> dict[str, str]:
    """Return whether sockets may be opened, which hubs are asked in which order, and where we keep what we read."""
    from modelscope_ext.errors import OptionError
    from modelscope_ext.hub.hubs import access_of, is_offline, order
    from modelscope_ext.hub.store import Store

    try:
        asked = ", ".join(order())
    except OptionError as error:
        asked = str(error)
    return {"offline": "yes" if is_offline() else "no", "order": asked, "metadata": str(Store.of(access_of()).root)}


def _hubs() -> dict[str, dict[str, str]]:
    """Return each hub's client, endpoint and cache, as they are now; nothing is asked and no client is imported."""
    from modelscope_ext.hub.hubs import HUBS, hub_of
    from modelscope_ext.utils.distributions import installed

    rows = {}
    for hub in map(hub_of, HUBS):
        found, options = installed(hub.requires), hub.options()
        rows[hub.title] = {
            "client": f"{hub.requires} {found.version}" if found else f"not installed: {hub.install}",
            "endpoint": _USER.sub("//***@", str(options["endpoint"])),
            "cache": str(options["cache"]),
        }
    return rows


def _libraries() -> dict[str, dict[str, str | None]]:
    from modelscope_ext.utils.distributions import installed

    rows: dict[str, dict[str, str | None]] = {}
    for name, floor in LIBRARIES.items():
        found = installed(name)
        version = found.version if found else None
        old = version and floor and _release(version) < _release(floor)
        patched = version and name in PATCHED and version.startswith(PATCHED[name])
        rows[name] = {"version": version, "note": _BELOW.format(floor) if old and not patched else ""}
    return rows


def _kernels(tried: bool) -> dict[str, Any]:
    """Return what stands ready for kernels that MindSpore lacks on a CPU, and with `tried` which of it is in use."""
    from modelscope_ext.models.backends._mindspore.kernels import all_rows

    if not tried:
        return {"replacements": len(all_rows()), "in use": "not tried: pass --kernels"}
    from modelscope_ext.models.backends._mindspore import cpu, device
    from modelscope_ext.models.backends._mindspore.quiet import loading

    with loading():
        if device.start() != "cpu":
            return {"replacements": len(all_rows()), "in use": "none: MindSpore runs on an Ascend card here"}
        report = cpu.probe()
    return {
        "replacements": len(all_rows()),
        "in use": len(report.replaced),
        **{f"replaced {name}": said for name, said in report.replaced.items()},
        **{f"unclear {name}": said for name, said in report.unclear.items()},
    }


def _release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: enough to compare with a floor."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
