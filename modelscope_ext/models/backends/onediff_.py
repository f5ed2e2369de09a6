"""onediff: the pipelines of diffusers with their networks compiled; chosen only when asked for or declared.

``backend="onediff"`` loads a folder as the diffusers backend does, then has onediff (1.2.0, with onediffx) compile the
networks in it. Which compiler is in use is logged, stands in `Model.parts` and in ``resolution.because["compiler"]``:

- ``compiler="oneflow"``, ``compiler="nexfort"``: onediff's own. The default is the first that is installed.
- ``compiler="torch"``: `torch.compile`, entered into onediff's registry. This is PyTorch's compiler, not their
  acceleration; ``compiler_options={"backend": "eager"}`` runs the very operations of plain diffusers.

A compiled pipeline gives the same answers within rounding (exactly, with ``eager``; 4e-6 with ``inductor`` on tiny
Stable Diffusion) and takes seconds to minutes for its first answer, and again for each new size.

onefx and omegaconf, which onediffx asks pip for, are never imported by it. Importing onediff prints nothing, writes no
file and sets no variable; when they compile, oneflow sets ``ONEFLOW_*`` and inductor ``_TORCHINDUCTOR_*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import OptionError
from modelscope_ext.models.backend import Loaded
from modelscope_ext.models.backends._onediff.compilers import (
    COMPILERS,
    DEFAULTS,
    FILE,
    OPTIONS,
    TORCH,
    choose,
    declared,
)
from modelscope_ext.models.backends.diffusers_ import Diffusers
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["OneDiff"]


class OneDiff(Diffusers):
    """Loads and runs pipelines of diffusers, compiled by onediff."""

    name: ClassVar[str] = "onediff"
    requires: ClassVar[tuple[str, ...]] = (*Diffusers.requires, "onediff>=1.2", "onediffx>=1.2")
    install: ClassVar[str] = 'pip install "modelscope-ext[onediff]"'
    options: ClassVar[Mapping[str, str]] = {**Diffusers.options, **OPTIONS}

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim what diffusers claims, as a possibility: nothing in a folder speaks for onediff."""
        from modelscope_ext.models.decision.claims import twins

        match = super().probe(evidence)
        return None if match is None else next(twin for twin in twins([match]) if twin.backend == self.name)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the files that diffusers reads, and configuration.json, which may name the compiler."""
        own = {name for name in (FILE,) if name in snapshot}
        return tuple(sorted({*super().files(resolution, snapshot), *own}))

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Load a pipeline or a component as the diffusers backend does, and compile its networks.

        Args:
            folder: The local folder.
            resolution: The decision.
            grants: What the caller permits.
            **options: `compiler`, `compiler_options` and `ignores`, and those of the diffusers backend. What the caller
                leaves out is read from ``onediff`` in configuration.json, where `Model.save_pretrained` leaves it.

        Raises:
            MissingRequirement: The compiler is not installed; raised before a weight is read.
            OptionError: No such compiler, an option it does not take, or a component that is not there.
            BackendNotLoadable: onediff compiles none of the components.
            ModelScopeExtError: As the diffusers backend.
        """
        from modelscope_ext.models.backends._diffusers.placing import SPREAD
        from modelscope_ext.models.backends._diffusers.quiet import quiet
        from modelscope_ext.models.backends._onediff.compile import compiled

        source = str(resolution.source)
        asked = {name: options.pop(name, None) for name in OPTIONS}
        replaced = options.get("cfg_dict")
        said = declared(_configuration(folder, grants) if replaced is None else replaced, source)
        settings = choose(asked, said, source, file=FILE if replaced is None else "(argument)")
        spread = options.get("device_map")
        if spread is not None and (not isinstance(spread, str) or spread in SPREAD):
            raise OptionError(
                f"device_map={printable(repr(spread))}: onediff compiles networks that stay on one device; pass device="
            )
        with quiet():
            checked = settings.compiler.check(settings.options)
        loaded = super().load(folder, resolution, grants, **options)
        self.report(f"Compiling with {settings.compiler.name}", 0, 1)
        with quiet():
            made = compiled(loaded, settings, checked, source)
        self.report("Loaded", 1, 1)
        return made

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Take no object: a pipeline of the caller's is diffusers', also where its networks are compiled already."""
        return None

    def save(self, native: Any, folder: Path) -> None:
        """Write the plain pipeline, as diffusers would: compiled code is made anew where it is loaded."""
        from modelscope_ext.models.backends._onediff.compile import plain

        super().save(plain(native), folder)

    def code(self, resolution: Resolution) -> str:
        """Return the same in onediff's own words, for the compiler that is in use, or that a load would use here."""
        from modelscope_ext.models.backends._onediff.code import snippet
        from modelscope_ext.models.snippets import native_snippet

        reasons = resolution.because.get("compiler", ())
        here = next((name for name in DEFAULTS if COMPILERS[name].installed), TORCH.name)
        plain = super().code(resolution) or native_snippet(replace(resolution, backend=Diffusers.name))
        return snippet(plain, str(reasons[0].value) if reasons else here, reasons)


def _configuration(folder: Path, grants: Grants) -> Any:
    from modelscope_ext.safety.reading import parse_json, read_inside

    if not (folder / FILE).is_file():
        return {}
    return parse_json(read_inside(folder, FILE, limits=grants.limits), file=FILE, limits=grants.limits)
