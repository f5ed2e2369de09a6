"""How large, deep and long a stranger's files may be before they are refused unread."""

from __future__ import annotations

from modelscope_ext.errors import OptionError
from modelscope_ext.utils.record import Record, dataclass, names_of
from modelscope_ext.utils.text import did_you_mean, printable

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True)
class Limits(Record):
    """Limits of everything that is read before a framework sees it; raise one with ``limits=Limits(depth=200)``.

    No real model of the corpus comes near any of them.

    Attributes:
        json_bytes: Size of a JSON or YAML file, in bytes.
        tokenizer_bytes: Size of tokenizer.json and other vocabularies, in bytes.
        depth: Nesting of a JSON or YAML document.
        nodes: Values in one document.
        yaml_aliases: Aliases (``*name``) in one YAML document.
        integer_digits: Digits of one integer; transformers writes ``model_max_length`` as 1e30, which has 31.
        layers: Layers a configuration may declare.
        labels: Labels a configuration may list.
        unlisted_labels: Labels a configuration may declare without listing them.
        vocabulary: Entries a configuration may declare for an embedding.
        width: Hidden size, channels, heads, experts or rank a configuration may declare.
        features: Inputs or outputs a single dense layer may declare.
        steps: Time steps and positions a configuration may declare.
        elements: Elements of one tensor.
        header_bytes: Size of a safetensors header, in bytes.
        gguf_bytes: Size of the metadata of a GGUF file (its vocabulary included), in bytes.
        tensors: Tensors in one weight file.
        pickle_bytes: Size of the pickled part of a checkpoint (not its tensors), in bytes.
        files: Files in one model.
        folder_depth: Nesting of folders in one model; deeper ones are not entered.
        name_bytes: Length of one file name inside a model, in UTF-8 bytes.
        redirect_depth: How many times one model may lead to another, or one URL.
        input_bytes: Size of one input that is fetched or read from an open file, in bytes.

    Raises:
        OptionError: A limit that is not a positive int.

    Example:
        >>> Limits(depth=200).depth, Limits().depth
        (200, 64)
    """

    json_bytes: int = 16 * 2**20
    tokenizer_bytes: int = 256 * 2**20
    depth: int = 64
    nodes: int = 200_000
    yaml_aliases: int = 32
    integer_digits: int = 40
    layers: int = 10_000
    labels: int = 1_000_000
    unlisted_labels: int = 65_536
    vocabulary: int = 2**26
    width: int = 2**18
    features: int = 2**26
    steps: int = 2**27
    elements: int = 2**44
    header_bytes: int = 8 * 2**20
    gguf_bytes: int = 64 * 2**20
    tensors: int = 100_000
    pickle_bytes: int = 64 * 2**20
    files: int = 10_000
    folder_depth: int = 16
    name_bytes: int = 1024
    redirect_depth: int = 3
    input_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        for name in names_of(type(self)):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise OptionError(f"Limits({name}={printable(value)}): expected a positive int.")

    @classmethod
    def of(cls, value: object) -> Limits:
        """Return `value` as Limits: None means the defaults, a mapping gives some of them.

        Raises:
            OptionError: Another type, or a limit nobody knows.

        Example:
            >>> Limits.of({"depth": 10}).depth
            10
        """
        if value is None:
            return DEFAULT_LIMITS
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise OptionError(f"limits={printable(value)}: expected a Limits or a dict of some of its fields.")
        known = names_of(cls)
        for name in value:
            if name not in known:
                raise OptionError(
                    f"limits: no limit is called {printable(name)!r}.{did_you_mean(str(name), known)} "
                    f"There are: {', '.join(known)}."
                )
        return cls(**value)


DEFAULT_LIMITS = Limits()
