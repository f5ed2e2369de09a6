"""Step 4 of 6: whether a model shows any sign of what a load is refused for; most show none, and cost nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelscope_ext.metadata.evidence import Evidence

__all__ = ["shows"]

#: Files that name classes or other models.
_FILES = frozenset(
    ("adapter_config.json", "audio_tokenizer_config.json", "model_index.json", "modules.json", "router_config.json")
)
#: Facts, and keys of documents, that gate A has a rule for.
_FACTS = frozenset(("allow_remote", "plugins", "pretrained"))
_KEYS = frozenset(
    ("_base_", "_attn_implementation", "_attn_implementation_internal", "_experts_implementation",
     "_experts_implementation_internal", "attn_implementation", "audio_tokenizer", "auto_map", "auto_register",
     "backbone", "class_info_file", "conv_feature_layers", "experts_implementation", "kernel_config", "label_map",
     "quantization_config", "repo_path", "sbert_ce_default_activation_function", "sentence_transformers",
     "speaker_embeddings", "spm_file", "tokenizer_file", "tokenizer_type", "vocab_file", "voices")
)  # fmt: skip


def shows(evidence: Evidence) -> bool:
    """Return whether gate A's rules are worth asking before a load.

    Example:
        >>> from modelscope_ext.metadata.evidence import collect
        >>> from modelscope_ext.metadata.snapshot import Snapshot
        >>> [shows(collect(Snapshot.from_mapping({"config.json": text}))) for text in ('{"a": 1}', '{"auto_map": {}}')]
        [False, True]
    """
    documents = evidence.documents
    return bool(
        evidence.findings
        or not _FILES.isdisjoint(documents)
        or not _FACTS.isdisjoint(evidence.declared)
        or any(isinstance(one, dict) and not _KEYS.isdisjoint(one) for one in documents.values())
    )
