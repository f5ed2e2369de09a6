"""Step 5 of 6, one backend: sentence-transformers, for vectors of texts and for cross-encoders that rank them.

The layout says everything: `modules.json` lists the modules, `1_Pooling/config.json` how token vectors become one. What
is not said is not guessed: the library itself would put mean pooling on any bare encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from modelscope_ext.errors import MalformedMetadata, ModelScopeExtError, NotAModel, OptionError, WeightsMismatch
from modelscope_ext.models.backend import Backend, Exported, Loaded
from modelscope_ext.models.backends._sentence_transformers_checks import (
    KINDS,
    check_activation,
    check_report,
    check_vocabulary,
    is_known,
    kind_of,
    modules_of,
    pooling_of,
    reported,
)
from modelscope_ext.models.backends._transformers.deferred import import_modeling, no_values_for_meta
from modelscope_ext.models.backends._transformers.graphs import TO_ONNX
from modelscope_ext.models.resolution import Match, Resolution
from modelscope_ext.utils.text import did_you_mean, listing, printable

if TYPE_CHECKING:
    from pathlib import Path

    from modelscope_ext.metadata.evidence import Evidence
    from modelscope_ext.metadata.snapshot import Snapshot
    from modelscope_ext.safety.grants import Grants

__all__ = ["SentenceTransformers"]

_PROMPTS = ("prompt", "prompt_name", "normalize_embeddings", "truncate_dim")

#: Modules whose folder may hold weights.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: What else a module's folder holds that is read.
_SETTINGS = (".json", ".txt", ".model", ".py", ".bpe")
_MODULE = re.compile(r"\d+_[A-Za-z]\w*(?=/)")


class SentenceTransformers(Backend):
    """Sentence vectors (SentenceTransformer) and rankings (CrossEncoder)."""

    name = "sentence-transformers"
    frameworks = ("pytorch",)
    requires = ("sentence-transformers>=6", "torch>=2.10")
    install = 'pip install "modelscope-ext[sentence-transformers]"'
    tasks = ("sentence-similarity", "feature-extraction", "text-ranking")
    exports: ClassVar[Mapping[str, tuple[str, ...]]] = {"onnx": TO_ONNX}
    options: ClassVar[Mapping[str, str]] = {
        "pooling": "how token vectors become one vector where modules.json is missing: cls, max, mean, ...",
        "max_length": "tokens after which a text is cut (what the model's files say)",
        "attn_implementation": "transformers' attention: eager, sdpa, flash_attention_2",
    }
    call_options: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "*": ("batch_size",),
        "feature-extraction": _PROMPTS,
        "sentence-similarity": _PROMPTS,
        "text-ranking": ("top_k", "prompt", "prompt_name"),
    }

    def probe(self, evidence: Evidence) -> Match | None:
        """Claim folders of the library's layout; usually not overridden."""
        from modelscope_ext.models.decision.architectures import sentence_transformers_claim

        return sentence_transformers_claim(evidence)

    def files(self, resolution: Resolution, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the metadata, the weights, and the weights of the modules in folders of their own (``2_Dense``)."""
        from modelscope_ext.models.plan import default_files, is_metadata

        modules = snapshot.document("modules.json") if snapshot.has_text("modules.json") else []
        modules = [m for m in modules if isinstance(m, Mapping)] if isinstance(modules, list) else []
        own = any(not is_known(str(module.get("type"))) for module in modules) or _maps_code(snapshot)
        found = {name for name in default_files(resolution, snapshot) if own or not name.endswith(".py")}
        weights = frozenset(resolution.weights.files)
        paths = {path for path in (module.get("path") for module in modules) if isinstance(path, str) and path}
        if not paths:  # the folders that the library itself writes
            paths = {match.group() for match in map(_MODULE.match, snapshot.names) if match}
        for path in paths:
            inside = [f"{path}/{name}" for name in _WEIGHTS if f"{path}/{name}" in snapshot]
            found.update(inside[:1])
            for name in snapshot.names:
                if name.startswith(f"{path}/") and name.endswith(_SETTINGS) and is_metadata(name, weights):
                    found.add(name)
        return tuple(sorted(found))

    def load(self, folder: Path, resolution: Resolution, grants: Grants, **options: Any) -> Loaded:
        """Return the library's SentenceTransformer or CrossEncoder.

        Raises:
            AmbiguousModel: Nothing says how to pool, and the caller neither.
            BackendNotLoadable: A kind of model that has no task here (sparse encoders, late interaction).
            UnknownTypeError: A module or activation outside the closed table.
            WeightsMismatch: Weights are missing and would be random.
        """
        from modelscope_ext.models.backends._transformers.code_guard import contained
        from modelscope_ext.models.backends._transformers.folder import Folder
        from modelscope_ext.models.backends._transformers.load import pick_device
        from modelscope_ext.models.backends._transformers.quiet import loading

        most = options.get("max_length")
        if most is not None and (type(most) is not int or most < 1):
            raise OptionError(f"max_length={printable(most)}: expected a whole number of at least 1.")
        place = Folder(folder, str(resolution.source), grants)
        modules = modules_of(place)
        kind = kind_of(place, modules, options.get("task") or resolution.default_task)
        check_activation(place)
        pooling = pooling_of(options.get("pooling"), kind, modules, place)
        with loading(), contained(), _same_randomness(), no_values_for_meta(), reported() as reports:
            device = None if options.get("device_map") is not None else str(pick_device(options.get("device")))
            keywords = _keywords(place, resolution, options, device)
            self.report("Loading weights", 0, 1)
            try:
                native = _built(kind, folder, keywords, pooling)
            except ModelScopeExtError:
                raise
            except ImportError:
                raise
            except Exception as error:
                raise _translated(place, error) from error
            self.report("Loaded", 1, 1)
        check_vocabulary(native, place)
        check_report(reports, native, place, kind, allowed=bool(options.get("allow_missing_weights")))
        if most is not None:
            native.max_seq_length = most
        return Loaded(native.eval(), {"card": (folder / "README.md").is_file()}, str(native.device))

    def adopt(self, native: Any, *, task: str | None = None, preprocessor: Any = None) -> Loaded | None:
        """Take a SentenceTransformer or CrossEncoder that the caller made."""
        names = {b.__name__ for b in type(native).__mro__ if b.__module__.partition(".")[0] == "sentence_transformers"}
        if not names & set(KINDS.values()):
            return None
        tasks = ("text-ranking",) if "CrossEncoder" in names else ("sentence-similarity", "feature-extraction")
        return Loaded(native, {"tasks": tasks, "card": False}, str(native.device))

    def predict(self, native: Any, task: str, inputs: Sequence[Any], **options: Any) -> Sequence[Any]:
        """Run `task`; ``raw=True`` gives the library's own arrays."""
        from modelscope_ext.models.backends._transformers.quiet import quiet, shows_bars

        model = native.native
        cross = hasattr(model, "rank")
        if cross != (task == "text-ranking") or task not in self.tasks:
            serves = ("text-ranking",) if cross else ("sentence-similarity", "feature-extraction")
            raise OptionError(
                f"{type(model).__name__} does not serve {printable(task)!r}; it serves {listing(serves)}."
                f"{did_you_mean(task, serves)}"
            )
        name, prompts = options.get("prompt_name"), getattr(model, "prompts", {})
        if name is not None and name not in prompts:
            raise OptionError(
                f"prompt_name={printable(name)!r} is not among the model's prompts.{did_you_mean(str(name), prompts)} "
                f"There are: {listing(prompts)}."
            )
        size = options.pop("batch_size", None) or 32
        raw, top = bool(options.pop("raw", False)), options.pop("top_k", None)
        keywords = {k: v for k, v in options.items() if v is not None}
        keywords |= {"batch_size": size, "show_progress_bar": shows_bars() and len(inputs) > size}
        with quiet():
            if task == "text-ranking":
                return _ranked(model, inputs, keywords, raw=raw, top=top)
            if task == "feature-extraction":
                return list(_vectors(model, inputs, keywords, raw=raw))
            return _similar(model, inputs, keywords, raw=raw)

    def count_tokens(self, native: Any, item: Any) -> int | None:
        """Return how many tokens the tokenizer makes of a text; what the model cuts off is counted as well."""
        from modelscope_ext.models.backends._transformers.quiet import quiet

        tokenizer = getattr(native.native, "tokenizer", None)
        if tokenizer is None or not isinstance(item, str):
            return None
        with quiet():
            return len(tokenizer(item)["input_ids"])

    def save(self, native: Any, folder: Path) -> None:
        """Write the library's own layout; the model's card goes along where it had one."""
        from modelscope_ext.models.backends._transformers.quiet import quiet

        with quiet():
            native.native.save_pretrained(str(folder), create_model_card=native.parts.get("card", False))

    def export(self, native: Any, task: str, to: str, folder: Path, **options: Any) -> Exported:
        """Write the encoder as an ONNX graph, and beside it how its vectors are pooled."""
        from modelscope_ext.models.backends._sentence_transformers_export import export
        from modelscope_ext.models.backends._transformers.quiet import loading

        with loading():
            return export(self, native, task, folder, options)

    def code(self, resolution: Resolution) -> str:
        """Return the same in the library's own words."""
        folder = resolution.source.path or resolution.source.repo or "."
        if resolution.default_task == "text-ranking":
            return (
                "from sentence_transformers import CrossEncoder\n\n"
                f"model = CrossEncoder({folder!r}, local_files_only=True)\n"
                'output = model.rank("the question", ["a document", "another document"])\n'
            )
        call = 'output = model.encode(["This is an example.", "Each sentence becomes a vector."])\n'
        if resolution.default_task == "sentence-similarity":
            call += "output = model.similarity(output[:1], output[1:])\n"
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({folder!r}, local_files_only=True)\n{call}"
        )


def _maps_code(snapshot: Snapshot) -> bool:
    """Whether config.json names classes that come with the model."""
    config = snapshot.document("config.json") if snapshot.has_text("config.json") else {}
    return isinstance(config, Mapping) and "auto_map" in config


@contextmanager
def _same_randomness() -> Iterator[None]:
    """Leave torch's random numbers as they were: modules are filled with them before their weights are read."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


def _keywords(place: Any, resolution: Resolution, options: Mapping[str, Any], device: str | None) -> dict[str, Any]:
    """Return the arguments of the library's classes, every one of trust among them."""
    from modelscope_ext.models.backends._transformers.load import as_dtype, use_safetensors

    model: dict[str, Any] = {
        "dtype": as_dtype(options.get("dtype")),
        "use_safetensors": use_safetensors(place, resolution),
        "weights_only": place.grants.allow_pickle != "full",
        "ignore_mismatched_sizes": True,  # so that `check_report` can name them
    }
    for name in ("variant", "attn_implementation", "device_map"):
        if options.get(name) is not None:
            model[name] = options[name]
    return {
        "device": device,
        "trust_remote_code": place.grants.may_run_code,
        "local_files_only": True,
        "model_kwargs": model,
        "processor_kwargs": {},
        "config_kwargs": {},
    }


def _built(kind: str, folder: Path, keywords: dict[str, Any], pooling: str | None) -> Any:
    import_modeling()
    import sentence_transformers

    if pooling is None:
        return getattr(sentence_transformers, kind)(str(folder), **keywords)
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    trust = {"trust_remote_code": keywords["trust_remote_code"], "local_files_only": True}
    parts = {name: {**trust, **keywords[name]} for name in ("model_kwargs", "processor_kwargs", "config_kwargs")}
    encoder = Transformer(str(folder), **parts)
    modules = [encoder, Pooling(encoder.get_embedding_dimension(), pooling)]
    return sentence_transformers.SentenceTransformer(modules=modules, device=keywords["device"], local_files_only=True)


def _translated(place: Any, error: Exception) -> Exception:
    detail = printable(" ".join(str(error).split()), 400)
    if isinstance(error, OSError):
        return NotAModel(
            f"{place.name}: no weights that PyTorch reads: {detail} Download them too; ONNX graphs are loaded "
            'with backend="onnx".'
        )
    if "mismatch" in detail.lower() or "state_dict" in detail:
        return WeightsMismatch(f"{place.name}: the weights do not fit the model: {detail}")
    return MalformedMetadata(
        f"{place.name}: sentence-transformers cannot load it ({type(error).__name__}: {detail})",
        source=place.name,
        file="modules.json",
    )


def _vectors(model: Any, texts: Sequence[str], keywords: Mapping[str, Any], *, raw: bool = False) -> Any:
    """Return float32 [texts, hidden]."""
    import numpy as np

    found = model.encode(list(texts), convert_to_numpy=True, **keywords)
    return found if raw else np.asarray(found, dtype=np.float32)


def _similar(model: Any, inputs: Sequence[Any], keywords: Mapping[str, Any], *, raw: bool) -> list[Any]:
    """Return for each input one similarity per sentence, all texts of all inputs encoded together."""
    texts = [text for item in inputs for text in (item["source_sentence"], *item["sentences"])]
    vectors = _vectors(model, texts, keywords, raw=raw)
    outputs: list[Any] = []
    at = 0
    for item in inputs:
        count = len(item["sentences"])
        scores = model.similarity(vectors[at : at + 1], vectors[at + 1 : at + 1 + count])[0]
        outputs.append(scores if raw else [float(score) for score in scores])
        at += count + 1
    return outputs


def _ranked(model: Any, inputs: Sequence[Any], keywords: Mapping[str, Any], *, raw: bool, top: int | None) -> list[Any]:
    """Return for each input its documents, best first, all pairs of all inputs scored together."""
    pairs = [(item["query"], document) for item in inputs for document in item["documents"]]
    if model.num_labels != 1:
        raise OptionError(
            f"The model gives {model.num_labels} scores for a pair of texts; text-ranking needs a cross-encoder with "
            'one. For classes of pairs use task="text-classification", backend="transformers".'
        )
    scores = model.predict(pairs, convert_to_numpy=True, **keywords) if pairs else []
    outputs: list[Any] = []
    at = 0
    for item in inputs:
        documents = item["documents"]
        own = scores[at : at + len(documents)]
        at += len(documents)
        order = sorted(range(len(documents)), key=lambda i: float(own[i]), reverse=True)[:top]
        rows = [{"index": i, "score": float(own[i]), "document": documents[i]} for i in order]
        outputs.append(own if raw else rows)
    return outputs
