"""`modelscope-ext inspect MODEL`: what a model is, what it needs, and why that was decided. Nothing is loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modelscope_ext.cli import exits
from modelscope_ext.cli.options import add_model, add_shape, resolve_keywords
from modelscope_ext.cli.output import Output, size
from modelscope_ext.errors import OptionError
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from modelscope_ext.models.resolution import Finding, Reason, Resolution
    from modelscope_ext.utils.requirement import Check

__all__ = ["EXAMPLES", "configure", "facts", "run", "show"]

EXAMPLES = """\
examples:
  modelscope-ext inspect ./my-model
  modelscope-ext inspect ./my-model --code           # the snippet that does the same without this package
  modelscope-ext inspect ./my-model --json | jq .backend
  modelscope-ext inspect ./my-model --security       # what is dangerous in it, and what each would need
  modelscope-ext inspect ./my-model --security --format sarif > model.sarif    # for code scanning
  modelscope-ext inspect ./my-model --backend onnx   # would that be possible?"""

#: The fields of a decision, in the order in which they are shown.
_FIELDS = ("framework", "backend", "tasks", "model_type")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    parser.add_argument("--code", action="store_true", help="print only the native snippet that loads the model")
    parser.add_argument(
        "--security", action="store_true", help="what a load would refuse or need a grant for; 1 where it is dangerous"
    )
    add_shape(parser, "what --security finds")


def run(args: argparse.Namespace, output: Output) -> int:
    """Resolve the model and show the decision."""
    from modelscope_ext.models.resolve import resolve

    output.show_logs()
    if args.security:
        return _security(args, output)
    if args.shape == "sarif":
        raise OptionError("--format sarif is a form of what --security finds: add --security")
    resolution = resolve(args.model, **resolve_keywords(args))
    if args.code:
        code = resolution.code()
        if output.json:
            output.document({"code": code})
        else:
            output.line(code.rstrip("\n"))
        return exits.OK
    from modelscope_ext.utils.requirement import check_requirements

    checks = check_requirements(resolution.requirement_dependency)
    if output.json:
        output.document({**resolution.to_dict(), "requirements": checks})
    else:
        show(resolution, checks, output)
    return exits.OK


def _security(args: argparse.Namespace, output: Output) -> int:
    """Show what is dangerous in the model; nothing of it is run, imported or fetched."""
    from modelscope_ext.models.security import security_report

    report = security_report(args.model, **resolve_keywords(args))
    if args.shape == "sarif":
        from modelscope_ext.models.sarif import sarif_log

        output.document(sarif_log([(report.origin, report.findings)], name=report.source))
    elif output.json:
        document = report.to_dict()
        document.pop("resolution")
        output.document({"dangerous": report.dangerous, **document})
    else:
        output.heading(report.source)
        if report.code_files:
            output.heading("code that trust_remote_code=True would run")
            output.table([(name,) for name in report.code_files])
            output.line(f"  sha256:{report.code_sha256}", style="dim")
        if report.findings:
            output.heading("findings")
            output.table(
                [(f.level, f.code, _needs(f.grant), f.message) for f in report.findings], styles=("", "bold", "dim")
            )
        output.line("dangerous" if report.dangerous else "nothing dangerous was found",
                    style="bold red" if report.dangerous else "bold green")  # fmt: skip
    return exits.NEGATIVE if report.dangerous else exits.OK


def _needs(grant: str | None) -> str:
    return f"needs {grant}" if grant else ""


def show(resolution: Resolution, checks: tuple[Check, ...], output: Output) -> None:
    """Print the decision in paragraphs: what, needs, why, findings, alternatives."""
    output.heading(str(resolution.source))
    output.table(facts(resolution), styles=("dim", "bold cyan"))
    _requirements(resolution, checks, output)
    _paragraph(output, "why", [(name, *_because(reason)) for name, reason in _reasons(resolution)], ("dim", "dim"))
    _findings(resolution, output)
    _paragraph(output, "alternatives", [(a.backend, a.reason) for a in resolution.alternatives], ("bold",))


def facts(resolution: Resolution) -> list[tuple[str, str]]:
    """Return what was decided as (label, value) rows."""
    tasks = [f"{task} (default)" if i == 0 and len(resolution.tasks) > 1 else task for i, task in
             enumerate(resolution.tasks)]  # fmt: skip
    backend = resolution.backend
    if not resolution.loadable:
        from modelscope_ext.models.decision.recognised import library

        known = "recognised; no loader here yet" if library(backend) else "unknown here; pass --backend"
        backend = f"{backend} ({known})"
    source = resolution.source
    at = f"{source.hub}, at {printable(source.commit)}" if source.commit else source.hub
    return [
        *([("hub", at)] if source.repo else []),
        ("framework", resolution.framework or "unknown"),
        ("backend", backend),
        ("tasks", ", ".join(tasks) or "unknown; pass --task"),
        ("model type", resolution.model_type or "unknown"),
        ("weights", _weights(resolution)),
    ]


def _weights(resolution: Resolution) -> str:
    weights = resolution.weights
    if weights.format is None:
        return "none found"
    count = len(weights.files)
    parts = [weights.files[0] if count == 1 else f"{count} files", weights.format, size(weights.bytes)]
    if weights.parameters is not None:
        parts.append(f"{weights.parameters:,} parameters")
    parts += [" + ".join(weights.dtypes)] if weights.dtypes else []
    parts += [f"variant {weights.variant}"] if weights.variant else []
    parts += [f"quantised: {weights.quantization}"] if weights.quantization else []
    return ", ".join(parts)


def _requirements(resolution: Resolution, checks: tuple[Check, ...], output: Output) -> None:
    if not checks:
        return
    output.heading("requires")
    output.table(
        [(output.tick(c.ok), c.requirement, c.installed or "not installed", c.problem) for c in checks],
        styles=("", "bold"),
    )
    for advice in dict.fromkeys(_advice(checks)):
        output.line(f"  {advice}", style="bold")


def _advice(checks: tuple[Check, ...]) -> list[str]:
    """Return the one pip command, and what no command mends."""
    from modelscope_ext.utils.requirement import install_command

    command = install_command(checks)
    others = [c.advice for c in checks if not c.ok and c.advice and not c.advice.startswith("pip ")]
    return ([command] if command else []) + others


def _reasons(resolution: Resolution) -> list[tuple[str, Reason]]:
    order = [*_FIELDS, *(name for name in resolution.because if name not in _FIELDS)]
    return [(name, reason) for name in order for reason in resolution.because.get(name, ())]


def _because(reason: Reason) -> tuple[str, str]:
    place = f"{reason.file}: {reason.key}" if reason.key else reason.file
    return place, reason.text


def _findings(resolution: Resolution, output: Output) -> None:
    if not resolution.findings:
        return
    output.heading("findings")
    output.table([(f.level, f.message, _place(f)) for f in resolution.findings], styles=("", "", "dim"))


def _place(finding: Finding) -> str:
    """Return where a finding was made, unless its message says so itself."""
    place = ": ".join(part for part in (finding.file, finding.field) if part)
    return "" if (finding.file or "") in finding.message else f"({place})"


def _paragraph(output: Output, title: str, rows: list[tuple[Any, ...]], styles: tuple[str, ...]) -> None:
    if rows:
        output.heading(title)
        output.table(rows, styles=styles)
