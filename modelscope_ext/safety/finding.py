"""What a reader of a model should know: one remark about one place in its files."""

from __future__ import annotations

from modelscope_ext.utils.record import Record, dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding(Record):
    """One remark; it refuses nothing by itself.

    Attributes:
        code: A short name of the kind of remark, e.g. ``"lfs-pointer"``; stable, for programs.
        level: ``"info"``, ``"warning"`` or ``"danger"``.
        file: The file inside the model it is about.
        field: The dotted key inside that file.
        message: One printable sentence.
        grant: The argument of the call that would permit what was found, if one would.

    Example:
        >>> Finding("lfs-pointer", "warning", "config.json", None, "a git-LFS pointer").to_dict()["level"]
        'warning'
    """

    code: str
    level: str
    file: str | None
    field: str | None
    message: str
    grant: str | None = None
