"""Two tables about packages: which distributions bring an import name, and which cannot share an environment."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from modelscope_ext.utils.distributions import installed
from modelscope_ext.utils.record import Record, dataclass, field
from modelscope_ext.utils.versions import holds, plain_bounds, plain_release

__all__ = [
    "CONFLICTS", "OLDER_LINES", "PROVIDERS", "Conflict", "Pin", "admits", "advice_of_companions", "conflict_between",
    "conflict_of",
]  # fmt: skip

_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-cann")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos", "tensorflow-intel")
_MECAB = ("mecab-python3", "fugashi")

#: Name (normalised) -> the distributions that bring the module of that name, the one to install first. Where several
#: bring the same module, any of them will do. Import names that equal their pip name need no row.
PROVIDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("cv2", *_OPENCV[:2]), _OPENCV),
        "opencv-python-headless": ("opencv-python-headless", *(name for name in _OPENCV if "headless" not in name)),
        "onnxruntime": _ONNXRUNTIME,
        "tensorflow": _TENSORFLOW,
        "mecab": _MECAB,
        "absl": ("absl-py",),
        "attr": ("attrs",),
        "bs4": ("beautifulsoup4",),
        "clip": ("openai-clip", "clip"),
        "crypto": ("pycryptodome",),
        "dateutil": ("python-dateutil",),
        "docx": ("python-docx",),
        "dotenv": ("python-dotenv",),
        "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"),
        "ffmpeg": ("ffmpeg-python",),
        "fitz": ("pymupdf",),
        "git": ("gitpython",),
        "google-protobuf": ("protobuf",),
        "jwt": ("pyjwt",),
        "llama-cpp": ("llama-cpp-python",),
        "magic": ("python-magic",),
        "mpl-toolkits": ("matplotlib",),
        "nemo": ("nemo-toolkit",),
        "onnxruntime-genai": ("onnxruntime-genai", "onnxruntime-genai-cuda", "onnxruntime-genai-directml"),
        "open-clip": ("open-clip-torch",),
        "openssl": ("pyopenssl",),
        "osgeo": ("gdal",),
        "pil": ("pillow",),
        "pkg-resources": ("setuptools",),
        "pptx": ("python-pptx",),
        "pytorch": ("torch",),
        "serial": ("pyserial",),
        "skimage": ("scikit-image",),
        "sklearn": ("scikit-learn",),
        "slugify": ("python-slugify",),
        "speech-recognition": ("speechrecognition",),
        "tensorflow-cpu": _TENSORFLOW,
        "whisper": ("openai-whisper",),
        "yaml": ("pyyaml",),
        "zmq": ("pyzmq",),
    }
)

_MAKE = ' python -m venv ms && ms/bin/pip install "modelscope-ext[{extra}]"'
_THERE = " Then run the model there: modelscope-ext run MODEL --python ms."
_MINDSPORE = _MAKE.format(extra="mindspore")
_SEPARATE = f"{{package}} works only with {{needs}}. Give it an environment of its own:{_MINDSPORE}.{_THERE}"
_TORCHVISION = (
    "torch is installed as a CPU build, and torchvision of the package registry is a CUDA build: imported beside it, it"
    " fails (operator torchvision::nms does not exist) and takes the models of transformers with it. Leave it out,"
    " images are then read with Pillow; or take torchvision from where this torch came from:"
    " https://download.pytorch.org/whl/cpu."
)
_HYPER_PARALLEL = (
    "mindformers 2 needs hyper-parallel, which no registry has. Install mindformers 1.8 into an environment of its own:"
    f"{_MINDSPORE}.{_THERE}"
)


_OLDER_LINE = (
    "This model was written for {package} {works} and breaks with later ones, which other models here need. Give it an"
    " environment of its own:" + _MAKE.format(extra="modelscope") + ' "{package}=={works}" "numpy<2".' + _THERE
)


@dataclass(frozen=True)
class Pin(Record):
    """What one package demands of another: the versions that work, and one of them that has been seen to."""

    versions: str
    works: str


@dataclass(frozen=True)
class Conflict(Record):
    """A package that cannot share an environment with versions of others.

    Attributes:
        package: Its normalised name.
        advice: What to do; ``{package}`` and ``{needs}`` are filled in.
        versions: The versions of it that the row is about; empty for all.
        needs: Other package -> what it must be.
        builds: Other package -> a local version label (``"+cpu"``) that this one must carry when the other does.
        instead: The version to install; when given, those of `versions` cannot be installed at all.
    """

    package: str
    advice: str
    versions: str = ""
    needs: Mapping[str, Pin] = field(default_factory=dict, hash=False)
    builds: Mapping[str, str] = field(default_factory=dict, hash=False)
    instead: str = ""

    def text(self) -> str:
        """Return the advice with the needs filled in."""
        needs = " and ".join(f"{name}{pin.versions}" for name, pin in self.needs.items())
        return self.advice.format(package=self.package, needs=needs)


# Read from the wheels' own metadata: mindone 0.5.0 and mindformers 1.8.0 have transformers==4.57.1 and numpy<2.
_MINDSPORE_PINS = MappingProxyType({"transformers": Pin("==4.57.1", "4.57.1"), "numpy": Pin("<2", "1.26.4")})

CONFLICTS: tuple[Conflict, ...] = (
    Conflict("mindone", _SEPARATE, versions="<0.6", needs=_MINDSPORE_PINS),
    Conflict("mindformers", _SEPARATE, versions="<2", needs=_MINDSPORE_PINS),
    Conflict("mindformers", _HYPER_PARALLEL, versions=">=2", instead="1.8.0"),
    Conflict("torchvision", _TORCHVISION, builds=MappingProxyType({"torch": "+cpu"})),
)


#: Package -> the older line that some models need, and a release of it that was seen to run them.
OLDER_LINES: Mapping[str, Pin] = MappingProxyType({"transformers": Pin("<5", "4.57.1")})


def conflict_of(name: str, version: str | None, specifier: str, *, met: bool) -> str:
    """Return what to do about a conflict with what is installed; empty when there is none.

    Args:
        name: The normalised name of the required package.
        version: Its installed version, or None.
        specifier: The versions that are required, e.g. ``">=5"``.
        met: Whether the installed version satisfies them.
    """
    for row in CONFLICTS:
        if row.package == name and _concerns(row, version, specifier) and (row.instead or _clashes(row, version)):
            return row.text()
        pin = row.needs.get(name)
        there = installed(row.package) if pin and not met else None
        if pin and there and admits(row.versions, there.version) and not admits(specifier, pin.works):
            return row.text()
    line = OLDER_LINES.get(name)
    if line and version and not met and not admits(line.versions, version) and admits(specifier, line.works):
        return _OLDER_LINE.format(package=name, works=line.works)
    return ""


def conflict_between(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return package -> what to do, for required packages that exclude each other whatever is installed.

    Args:
        wanted: Normalised names with the versions that are required.
    """
    found: dict[str, str] = {}
    for row in CONFLICTS:
        for other, pin in row.needs.items():
            both = row.package in wanted and other in wanted and _concerns(row, None, wanted[row.package])
            if both and not admits(wanted[other], pin.works):
                found[row.package] = found[other] = row.text()
    return found


def advice_of_companions(conflicting: Iterable[str]) -> dict[str, str]:
    """Return package -> what to do, for packages in conflict that another one in conflict needs as they are not.

    One new environment settles both, and it is the other one's: transformers is too new here because of mindone.

    Args:
        conflicting: Normalised names.

    Example:
        >>> list(advice_of_companions(["mindone", "transformers", "torch"]))
        ['transformers']
    """
    names = set(conflicting)
    rows = [row for row in CONFLICTS if row.package in names]
    return {other: row.text() for row in rows for other in row.needs if other in names}


def admits(specifier: str, version: str) -> bool:
    """Whether `version` satisfies `specifier`; an empty one admits everything."""
    if not specifier:
        return True
    have, bounds = plain_release(version), plain_bounds(specifier)
    if have is not None and bounds is not None:
        return all(holds(have, sign, bound) for sign, bound in bounds)
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _concerns(row: Conflict, version: str | None, specifier: str) -> bool:
    """Whether `row` is about the installed version, or, where there is none, about the one that would be installed."""
    if version is not None:
        return admits(row.versions, version)
    return not (row.instead and admits(specifier, row.instead))


def _clashes(row: Conflict, version: str | None) -> bool:
    """Whether something that is installed cannot stand beside `version` of the row's package."""
    for other, pin in row.needs.items():
        there = installed(other)
        if there and not admits(pin.versions, there.version):
            return True
    for other, label in row.builds.items():
        there = installed(other) if row.package not in sys.modules else None  # what is imported works here
        if there and there.version.endswith(label) and not (version or "").endswith(label):
            return True
    return False
