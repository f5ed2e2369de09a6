"""Tasks of the ONNX backend whose answer is a vector: token features, sentence embeddings, similarities.

A folder that says how token vectors become one vector (`modules.json` and `1_Pooling/config.json`, the layout of
sentence-transformers) gives one vector per text, by those words; any other gives one vector per token. Nothing is ever
pooled by guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_ext.errors import AmbiguousModel, BackendNotLoadable, MalformedMetadata, OptionError
from modelscope_ext.models.backends._onnx.session import Bundle, batches
from modelscope_ext.models.backends._onnx.text import Words
from modelscope_ext.safety.paths import check_name
from modelscope_ext.utils.text import listing, printable

__all__ = ["MODES", "Sentence", "feature_extraction", "sentence_similarity"]

#: Pooling modes, in the order in which several are joined.
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

#: Key of `1_Pooling/config.json` before sentence-transformers 5.3 -> mode.
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

SETTINGS = "config_sentence_transformers.json"


def feature_extraction(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """One float32 array per text: [tokens, hidden], or [hidden] where the folder says how to pool."""
    sentence = Sentence.of(bundle)
    if sentence is not None:
        return sentence.vectors(inputs, options)
    outputs: list[Any] = []
    for part in batches(inputs, options.get("batch_size")):
        words = bundle.text.encode(part)
        states = _states(bundle, bundle.graph.words(words))
        outputs.extend(states[row][words.mask[row] == 1] for row in range(len(part)))
    return outputs


def sentence_similarity(bundle: Bundle, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
    """For each ``{"source_sentence", "sentences"}`` one number per sentence, by the folder's measure (cosine)."""
    sentence = Sentence.of(bundle)
    if sentence is None:
        raise AmbiguousModel(
            "The folder has no modules.json, so nothing says how token vectors become one vector per sentence; a "
            'guess would give wrong similarities. If you know it, pass pooling="mean" (or cls, max) to the load.'
        )
    outputs = []
    for item in inputs:
        texts = [item["source_sentence"], *item["sentences"]]
        vectors = sentence.vectors(texts, options)
        outputs.append([float(v) for v in similarity(sentence.measure, vectors[0], vectors[1:])])
    return outputs


def similarity(measure: str, one: Any, others: Sequence[Any]) -> Any:
    """Return the similarity of `one` [hidden] to each of `others`; distances count negative."""
    import numpy as np

    if not others:
        return []
    rows = np.stack(others)
    if measure == "dot":
        return rows @ one
    if measure == "euclidean":
        return -np.sqrt(((rows - one) ** 2).sum(axis=1))
    if measure == "manhattan":
        return -np.abs(rows - one).sum(axis=1)
    return _unit(rows) @ _unit(one)


class Sentence:
    """How a folder turns token vectors into one vector.

    Attributes:
        modes: Pooling modes, joined in this order; empty where the graph gives sentence vectors itself.
        normalize: Whether vectors are scaled to length one.
        prompts: Texts to put in front, by name.
        prompt: The name of the one that is used by default.
        count_prompt: Whether the prompt's tokens count in the pooling.
        lower: Whether texts are put in lower case first.
        measure: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``.
        dimensions: Where vectors are cut off, or None.
    """

    def __init__(self, bundle: Bundle, modes: Sequence[str], *, normalize: bool = False, count_prompt: bool = True):
        settings = bundle.document(SETTINGS)
        self.bundle = bundle
        self.modes = tuple(modes)
        self.normalize = normalize
        self.count_prompt = count_prompt
        self.prompts: Mapping[str, str] = settings.get("prompts") or {}
        self.prompt: str | None = settings.get("default_prompt_name")
        self.lower = bundle.document("sentence_bert_config.json").get("do_lower_case") is True
        said = settings.get("similarity_fn_name")
        self.measure = said if said in ("cosine", "dot", "euclidean", "manhattan") else "cosine"
        dimensions = settings.get("truncate_dim")
        self.dimensions = dimensions if type(dimensions) is int and dimensions > 0 else None

    @classmethod
    def of(cls, bundle: Bundle) -> Sentence | None:
        """Read the folder's words; None where it says nothing and the caller neither.

        Raises:
            BackendNotLoadable: A module that the graph does not contain and this backend cannot compute.
            MalformedMetadata: Not the layout that sentence-transformers writes.
        """
        asked = (bundle.options or {}).get("pooling")
        if asked is not None:
            return cls(bundle, (asked,))
        modules = bundle.document("modules.json")
        if not modules:
            return None
        if not isinstance(modules, list) or not all(isinstance(m, Mapping) for m in modules):
            raise MalformedMetadata("modules.json should be a list of objects.", file="modules.json")
        whole = "sentence_embedding" in bundle.graph.outputs
        modes: list[str] = []
        normalize, count_prompt = False, True
        for row, module in enumerate(modules):
            kind = str(module.get("type", "")).rpartition(".")[2]
            if kind == "Pooling":
                name = check_name(f"{module.get('path', '')}/config.json", file="modules.json", field=f"{row}.path")
                document = bundle.document(name)
                modes, count_prompt = _modes(document, name), document.get("include_prompt") is not False
            elif kind == "Normalize":
                normalize = True
            elif kind != "Transformer" and not whole:
                raise BackendNotLoadable(
                    f"modules.json: {row}.type is {printable(module.get('type'))}, which the ONNX graph does not "
                    'contain. Use backend="sentence-transformers" (it needs torch and PyTorch weights).'
                )
        return cls(bundle, () if whole else modes, normalize=normalize, count_prompt=count_prompt)

    def vectors(self, texts: Sequence[str], options: Mapping[str, Any]) -> list[Any]:
        """Return one float32 [hidden] per text."""
        prompt = self._prompt(options)
        skipped = 0 if self.count_prompt or not prompt else self._length(prompt)
        outputs: list[Any] = []
        for part in batches([prompt + text for text in texts], options.get("batch_size")):
            words = self.bundle.text.encode([text.lower() for text in part] if self.lower else part)
            found = self.bundle.graph.words(words)
            vectors = found["sentence_embedding"] if not self.modes else self._pooled(found, words, skipped)
            if self.dimensions:
                vectors = vectors[:, : self.dimensions]
            outputs.extend(_unit(vectors) if self.normalize or options.get("normalize_embeddings") else vectors)
        return outputs

    def _prompt(self, options: Mapping[str, Any]) -> str:
        if options.get("prompt") is not None:
            return str(options["prompt"])
        name = options.get("prompt_name") or self.prompt
        if name is None:
            return ""
        if name not in self.prompts:
            raise OptionError(
                f"prompt_name={printable(name)!r} is not in {SETTINGS}. Prompts there: {listing(self.prompts)}."
            )
        return self.prompts[name]

    def _length(self, prompt: str) -> int:
        """Return how many tokens at the start belong to the prompt: those of it alone, without a closing token."""
        encoding = self.bundle.text.tokenizer.encode(prompt)
        return len(encoding.ids) - int(encoding.special_tokens_mask[-1])

    def _pooled(self, found: Mapping[str, Any], words: Words, skipped: int) -> Any:
        import numpy as np

        states, mask = _states(self.bundle, found), words.mask.copy()
        starts = words.mask.argmax(axis=1)
        for row, start in enumerate(starts):
            mask[row, start : start + skipped] = 0
        return np.concatenate([_pool(mode, states, mask, starts) for mode in self.modes], axis=1)


def _pool(mode: str, states: Any, mask: Any, starts: Any) -> Any:
    """Return [n, hidden] from token vectors [n, tokens, hidden] where `mask` is 1."""
    import numpy as np

    rows = np.arange(len(states))
    weight = mask[:, :, None].astype(np.float32)
    if mode == "cls":
        return states[rows, mask.argmax(axis=1)]
    if mode == "max":
        return np.where(weight > 0, states, -np.inf).max(axis=1)
    if mode == "lasttoken":
        return states[rows, mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]
    if mode == "weightedmean":
        weight = weight * (np.arange(1, mask.shape[1] + 1)[None, :] - starts[:, None])[:, :, None].astype(np.float32)
    total = np.maximum(weight.sum(axis=1), 1e-9)
    return (states * weight).sum(axis=1) / (np.sqrt(total) if mode == "mean_sqrt_len_tokens" else total)


def _modes(document: Mapping[str, Any], name: str) -> list[str]:
    said = document.get("pooling_mode")
    if said is None:
        return [mode for key, mode in _OLD_MODES.items() if document.get(key) is True] or ["mean"]
    modes = [said] if isinstance(said, str) else said
    if not isinstance(modes, list) or not modes or any(mode not in MODES for mode in modes):
        raise MalformedMetadata(
            f"{name}: pooling_mode is {printable(said)}; expected one or more of {listing(MODES)}.",
            file=name,
            field="pooling_mode",
        )
    return modes


def _states(bundle: Bundle, found: Mapping[str, Any]) -> Any:
    """Return the vectors of the tokens, float32 [n, tokens, hidden]."""
    import numpy as np

    names = ("last_hidden_state", "token_embeddings", bundle.graph.outputs[0])
    return np.asarray(next(found[name] for name in names if name in found)).astype(np.float32, copy=False)


def _unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
