"""Packaging of modelscope_ext: a light core, and one extra for each backend."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "modelscope_ext/__init__.py").read_text("utf-8"), re.M)[1]

# The clients of ModelScope and Hugging Face, and what their downloads here use: 30 MB that a folder does not need.
HUB = ["modelscope-hub>=0.5.1", "huggingface-hub>=0.36", "requests>=2.28", "filelock>=3.10", "tqdm>=4.64"]
TORCH = [*HUB, "torch>=2.10"]
TRANSFORMERS = [*TORCH, "transformers>=4.57.1", "safetensors>=0.4.3", "numpy", "pillow"]
SERVE = ["fastapi>=0.115", "uvicorn>=0.30", "prometheus-client>=0.20"]

EXTRAS = {
    "hub": HUB,
    "transformers": TRANSFORMERS,
    "diffusers": [*TRANSFORMERS, "diffusers>=0.38", "accelerate>=1.0"],
    "sentence-transformers": [*TRANSFORMERS, "sentence-transformers>=6"],
    "peft": [*TRANSFORMERS, "peft>=0.19"],
    "modelscope": [
        *TORCH,
        "modelscope>=1.38",
        "datasets>=4",
        "numpy",
        "pillow",
        "simplejson>=3.3",
        "sortedcontainers>=1.5.9",
    ],
    "onnx": ["onnxruntime>=1.17", "numpy", "pillow", "tokenizers>=0.15"],
    "gguf": [*TRANSFORMERS, "gguf>=0.10", "accelerate>=1.0"],
    "mindspore": [
        *HUB,
        "mindspore==2.7.2",
        "mindone==0.5.0",
        "mindformers==1.8.0",
        "torch==2.13.0",
        "diffusers==0.35.2",
        "accelerate==1.10.1",
    ],
    "onediff": [*TRANSFORMERS, "diffusers>=0.38", "accelerate>=1.0", "onediff>=1.2", "onediffx>=1.2"],
    "openmind": [*HUB, "openmind-hub>=1.3"],
    # Sigstore's verifier of signed models; pyOpenSSL, which it imports and does not name, among it.
    "signing": ["model-signing>=1.1.1", "pyOpenSSL>=24"],
    "parquet": ["pyarrow>=15"],
    "datasets": ["datasets>=4"],
    "ray": ["ray[data]>=2.60,<2.61"],
    "testing": [*HUB, "pytest>=8", "trustme>=1.1"],
    "serve": SERVE,
    "ray-serve": [*SERVE, "ray[serve]>=2.60,<2.61"],
    "web": ["gradio>=6", "pillow", "numpy"],
    "dev": [
        "tox>=4.23",
        "ruff>=0.9",
        "mypy>=1.14",
        "types-PyYAML",
        "pytest>=8",
        "hypothesis>=6.100",
        "pytest-socket>=0.7",
        "jsonschema>=4",
        "scikit-learn>=1.5",
        "rich>=13",
        "matplotlib>=3.8",
    ],
}

setup(
    name="modelscope-ext",
    version=VERSION,
    description="One call loads any model: framework, backend and task are worked out from the files, and explained.",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["modelscope_ext", "modelscope_ext.*"]),
    package_data={
        "modelscope_ext": ["py.typed"],
        "modelscope_ext.data": ["digits/*", "digits/onnx/*", "digits_samples/*"],
        "modelscope_ext.models": ["data/*.json"],
        "modelscope_ext.utils": ["data/*.json"],
    },
    install_requires=["addict>=2.4", "yapf>=0.40", "PyYAML>=6", "packaging>=22", "platformdirs>=3.5"],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["modelscope-ext = modelscope_ext.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
