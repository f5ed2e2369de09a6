"""A Resolution in words, and as the snippet that does the same without this package."""

from __future__ import annotations

from collections.abc import Iterator

from modelscope_ext.models.resolution import Reason, Resolution
from modelscope_ext.models.snippets import native_snippet
from modelscope_ext.utils.text import listing, printable

__all__ = ["code", "explain"]

#: Field -> what the paragraph calls it.
_FIELDS = (("framework", "framework"), ("backend", "backend"), ("tasks", "tasks"), ("model_type", "model type"))
_MOST = 6


def explain(resolution: Resolution) -> str:
    """Return the decision and its reasons as plain text, one field a paragraph, the strongest reason first.

    Example:
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> from modelscope_ext.models.resolve import resolve
        >>> config = '{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'
        >>> print(explain(resolve(Snapshot.from_mapping({"config.json": config}), installed=False)).splitlines()[0])
        (mapping): pytorch, transformers, fill-mask
    """
    return "\n\n".join("\n".join(paragraph) for paragraph in _paragraphs(resolution))


def code(resolution: Resolution) -> str:
    """Return the equivalent snippet in the library's own words; a comment where this package does not know it."""
    from modelscope_ext.models.builder import BACKENDS

    if resolution.backend in BACKENDS:
        snippet = BACKENDS.get(resolution.backend).code(resolution)
        if snippet:
            return snippet
    install = _install(resolution)
    advice = f" Install it: {install}" if install else ""
    native = native_snippet(resolution)
    if native:
        name = printable(resolution.backend)
        return f"# {name} cannot be loaded by modelscope_ext yet; load it with {name} itself.{advice}\n{native}"
    return f"# {printable(resolution.backend)} has no snippet here.{advice}\n"


def _paragraphs(resolution: Resolution) -> Iterator[list[str]]:
    tasks = ", ".join(map(printable, resolution.tasks)) or "no task known"
    head = (
        f"{printable(str(resolution.source))}: {resolution.framework or 'no framework'}, {resolution.backend}, {tasks}"
    )
    lines = [head]
    if not resolution.loadable:
        name, install = printable(resolution.backend), _install(resolution)
        lines.append(
            f"{name} is recognised but cannot be loaded by this package yet. Install it and use it directly: {install}"
            if install
            else f"{name} is a backend that nothing here knows; pass backend= to choose another"
        )
    yield lines
    for field, name in _FIELDS:
        value = getattr(resolution, field)
        if value:
            shown = ", ".join(map(printable, value)) if isinstance(value, tuple) else printable(value)
            yield [f"{name}: {shown}", *_because(resolution.because.get(field, ()))]
    for field in sorted(resolution.because.keys() - {field for field, _ in _FIELDS}):
        reasons = resolution.because[field]
        yield [f"{printable(field)}: {printable(reasons[0].value)}", *_because(reasons)]
    if resolution.weights.format:
        yield [_weights(resolution)]
    if resolution.requirement_dependency:
        lines = [f"requirements: {', '.join(map(printable, resolution.requirement_dependency))}"]
        yield lines + [f"  missing: {printable(line, 300)}" for line in resolution.missing]
    if resolution.alternatives:
        yield ["alternatives:", *(f"  {a.backend}: {printable(a.reason, 200)}" for a in resolution.alternatives)]
    if resolution.findings:
        yield ["findings:", *(f"  {f.level} {f.code}{_place(f.file, f.field)}: {printable(f.message, 300)}"
                              for f in resolution.findings)]  # fmt: skip


def _because(reasons: tuple[Reason, ...]) -> Iterator[str]:
    for reason in reasons[:_MOST]:
        value = "" if reason.value is None else f" = {printable(reason.value, 80)}"
        yield f"  {printable(reason.file)} {printable(reason.key)}{value}: {printable(reason.text, 200)}"
    if len(reasons) > _MOST:
        yield f"  and {len(reasons) - _MOST} more"


def _weights(resolution: Resolution) -> str:
    weights = resolution.weights
    text = f"weights: {weights.format}, {len(weights.files)} file(s), {weights.bytes:,} bytes"
    text += f", variant {printable(weights.variant)}" if weights.variant else ""
    text += f", {printable(weights.quantization)}" if weights.quantization else ""
    text += f", {weights.parameters:,} parameters" if weights.parameters is not None else ""
    return text + f": {listing(map(printable, weights.files), most=4)}"


def _place(file: str | None, field: str | None) -> str:
    return f" ({printable(file or '')}{' ' if file and field else ''}{printable(field or '')})" if file or field else ""


def _install(resolution: Resolution) -> str:
    from modelscope_ext.models.backends import BUILTINS
    from modelscope_ext.models.decision.recognised import library

    row = library(resolution.backend)
    if row is not None:
        return row.install
    built = BUILTINS.get(resolution.backend)
    if built is not None:
        return built.install
    return ""  # a name out of a stranger's file that nobody knows must not become a package to install
