"""onediff, the real one: diffusers' pipelines compiled by torch.compile, since its own compilers cannot be had here."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import ConfigError, MissingRequirement, OptionError
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models.backends._onediff.compilers import choose, declared
from modelscope_ext.models.backends._onediff.options import nexfort_options
from modelscope_ext.models.backends.onediff_ import OneDiff
from modelscope_ext.models.resolution import Resolution, Source
from modelscope_ext.models.resolve import resolve
from modelscope_ext.safety.grants import Grants
from modelscope_ext.testing import BackendConformance
from modelscope_ext.testing.witness import witness
from tests.equality import assert_equal
from tests.models.backends.diffusers_cases import CASES, flat, opened, write_pictures
from tests.reference import OFFLINE, in_process, reference
from tests.utils.installed import install

EAGER: dict[str, Any] = {"compiler": "torch", "compiler_options": {"backend": "eager"}}
PROMPTS = ("a red house", "two small birds")
CALL = {"num_inference_steps": 2, "seed": 3}
#: What rounds to neighbouring values of 255 is equal: batches and single inputs differ in the last bit of a float.
PIXEL = 1.01 / 255

REFERENCE = """
import torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(arg["folder"], local_files_only=True, use_safetensors=True)
pipe.set_progress_bar_config(disable=True)
result = [
    pipe(prompt, num_inference_steps=2, generator=torch.Generator().manual_seed(3), output_type="np").images
    for prompt in arg["prompts"]
]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny.diffusers_ import build

    return build("stable-diffusion", tmp_path_factory.mktemp("onediff") / "model")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Iterator[Any]:
    from modelscope_ext import Model

    with Model.from_pretrained(folder, backend="onediff", **EAGER) as model:
        yield model


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[Any]:
    from modelscope_ext import Model

    with Model.from_pretrained(folder) as model:
        assert model.backend == "diffusers"
        yield model


def floats(native: Any, prompt: str, **call: Any) -> Any:
    """What a pipeline makes of a prompt, before it is rounded to a picture."""
    import torch

    call = {"num_inference_steps": 2, "generator": torch.Generator().manual_seed(3), **call}
    native.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        return native(prompt, output_type="np", **call).images


def pixels(pictures: list[Any]) -> list[Any]:
    """Pictures as arrays of numbers from 0 to 1."""
    import numpy

    return [numpy.asarray(picture) / 255 for picture in pictures]


@pytest.mark.pt
class TestConformance(BackendConformance):
    backend = OneDiff
    task = "text-to-image"
    inputs = PROMPTS
    libraries = ("onediff", "onediffx", "diffusers", "transformers", "torch")
    tolerance = PIXEL
    load_options = EAGER
    load_values = {
        "compiler": "torch",
        "compiler_options": {"backend": "eager", "fullgraph": False},
        "ignores": ("vae",),
    }
    predict_options = CALL
    call_values = {"seed": 7, "num_inference_steps": 1, "guidance_scale": 3.0}

    def make_folder(self, tmp_path: Path) -> Path:
        from tests.tiny.diffusers_ import build

        return build("stable-diffusion", tmp_path / "model")

    def near_misses(self, tmp_path: Path) -> Iterator[Path]:
        from tests.tiny.transformers_ import build

        yield build("text-classification", tmp_path / "bert")
        offsets = tmp_path / "offsets"
        offsets.mkdir()
        (offsets / "model_index.json").write_text('{"metadata": {"total_size": 3}, "weight_map": {}}')
        yield offsets


@pytest.mark.pt
class TestEquality:
    def test_pictures_are_those_of_diffusers_itself(self, folder: Path, loaded: Any) -> None:
        theirs = reference(REFERENCE, {"folder": str(folder), "prompts": PROMPTS})
        assert_equal([floats(loaded.native, prompt) for prompt in PROMPTS], theirs)

    def test_eager_is_exactly_plain_diffusers(self, loaded: Any, plain: Any) -> None:
        ours = [floats(loaded.native, prompt) for prompt in PROMPTS]
        theirs = [floats(plain.native, prompt) for prompt in PROMPTS]
        assert_equal(ours, theirs, tolerance=0.0)
        ours, theirs = (pixels(m.predict("text-to-image", list(PROMPTS), **CALL)) for m in (loaded, plain))
        assert_equal(ours, theirs, tolerance=0.0)

    @pytest.mark.parametrize("task", ["image-to-image", "image-inpainting"])
    def test_the_other_tasks_of_the_same_components(self, loaded: Any, plain: Any, task: str) -> None:
        from PIL import Image

        pictures = [Image.linear_gradient("L").resize((16, 16)).rotate(angle).convert("RGB") for angle in (0, 90)]
        inputs = [{"image": picture, "prompt": prompt} for picture, prompt in zip(pictures, PROMPTS, strict=True)]
        if task == "image-inpainting":
            inputs = [{**one, "mask_image": Image.radial_gradient("L").resize((16, 16))} for one in inputs]
        ours, theirs = (pixels(model.predict(task, inputs, strength=0.9, **CALL)) for model in (loaded, plain))
        assert_equal(ours, theirs, tolerance=0.0)
        made = loaded.parts["related"][task]
        assert made.unet is loaded.native.unet and made.vae is loaded.native.vae

    def test_a_pipeline_without_prompts(self, tmp_path: Path) -> None:
        from modelscope_ext import Model
        from tests.tiny.diffusers_ import build

        ddpm = build("ddpm", tmp_path / "ddpm")
        answers = []
        for options in ({}, {"backend": "onediff", **EAGER}):
            with Model.from_pretrained(ddpm, **options) as model:
                answers.append(pixels(model.predict(model.default_task, [1, 2], num_inference_steps=2)))
        assert list(model.resolution.because["compiler"])[1].value == "unet"
        assert_equal(*answers, tolerance=0.0)

    @pytest.mark.long
    @pytest.mark.parametrize("family", dict.fromkeys(case.family for case in CASES))
    def test_every_family_of_pipelines(self, tmp_path: Path, family: str) -> None:
        from modelscope_ext import pipeline
        from tests.tiny.diffusers_ import build

        case = next(case for case in CASES if case.family == family and not case.load)
        build(family, tmp_path / family)
        write_pictures(tmp_path)
        seed = {} if case.task == "unconditional-image-generation" else {"seed": 3}
        answers = []
        for options in ({}, {"backend": "onediff", **EAGER}):
            with pipeline(model=tmp_path / family, device="cpu", **options) as pipe:
                inputs = opened(case.inputs, tmp_path)
                answers.append([flat(one) for one in pipe(inputs, num_inference_steps=2, **seed, **case.options)])
        assert_equal(*answers)

    @pytest.mark.long
    def test_inductor_differs_by_rounding_only(self, folder: Path) -> None:
        found = in_process(
            """
import torch
from modelscope_ext import Model
from tests.models.backends.test_onediff_ import floats
answers = []
onediff = {"backend": "onediff", "compiler": "torch", "ignores": ("vae", "text_encoder")}
for options in ({"backend": "diffusers"}, onediff):
    with Model.from_pretrained(arg["folder"], **options) as model:
        answers.append([floats(model.native, prompt).tolist() for prompt in arg["prompts"]])
        compiled = list(model.parts.get("compiled", ()))
result = [*answers, compiled]
""",
            {"folder": str(folder), "prompts": PROMPTS},
        )
        assert found[2] == ["unet"]
        assert_equal(found[1], found[0], tolerance=1e-4)


@pytest.mark.pt
class TestWhatIsUsedIsSaid:
    def test_in_parts_and_in_the_reasons(self, loaded: Any) -> None:
        from onediff.infer_compiler import DeployableModule

        assert (loaded.backend, loaded.parts["compiler"]) == ("onediff", "torch")
        assert loaded.parts["compiler_options"] == {"backend": "eager"}
        assert set(loaded.parts["compiled"]) == {"unet", "text_encoder", "vae.encoder", "vae.decoder"}
        for part in (loaded.native.unet, loaded.native.text_encoder, loaded.native.vae.decoder):
            assert isinstance(part, DeployableModule)
        who, what, how = loaded.resolution.because["compiler"]
        assert (who.file, who.value) == ("(argument)", "torch")
        assert "not the acceleration of oneflow or nexfort" in who.text
        assert "torch.compile(backend='eager') of torch 2." in what.text and "onediff 1.2" in what.text
        assert how.value == {"backend": "eager"}
        assert "compiler: torch" in loaded.resolution.explain()

    def test_in_the_log(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        from modelscope_ext import Model

        with caplog.at_level(logging.INFO, "modelscope_ext"):
            Model.from_pretrained(folder, backend="onediff", **EAGER, ignores="vae").close()
        [said] = [record.getMessage() for record in caplog.records if "onediff" in record.getMessage()]
        assert "text_encoder, unet when first run, with torch.compile(backend='eager')" in said
        assert "vae" not in said and "not the acceleration" in said

    def test_the_library_keeps_its_own_config(self, loaded: Any, plain: Any) -> None:
        ours, theirs = (
            {key: value for key, value in model.native.config.items() if key[0] != "_"} for model in (loaded, plain)
        )
        assert ours == theirs and ours["unet"] == ("diffusers", "UNet2DConditionModel")

    def test_the_callers_options_are_left_alone(self, folder: Path) -> None:
        options = {"memory_format": "channels_last", "mode": "max-autotune"}
        assert nexfort_options(options) == options and nexfort_options(options) is not options


@pytest.mark.pt
class TestSaving:
    def test_a_saved_copy_is_plain_and_reloads_the_same(self, loaded: Any, plain: Any, tmp_path: Path) -> None:
        from modelscope_ext import Model

        loaded.save_pretrained(tmp_path)
        index = json.loads((tmp_path / "model_index.json").read_text())
        assert (index["unet"], index["vae"]) == (["diffusers", "UNet2DConditionModel"], ["diffusers", "AutoencoderKL"])
        assert json.loads((tmp_path / "unet" / "config.json").read_text())["_class_name"] == "UNet2DConditionModel"
        said = json.loads((tmp_path / "configuration.json").read_text())
        assert (said["backend"], said["onediff"]) == ("onediff", EAGER)
        info = resolve(tmp_path)
        assert (info.backend, info.framework, info.default_task) == ("onediff", "pytorch", "text-to-image")
        expected = [floats(plain.native, prompt) for prompt in PROMPTS]
        with Model.from_pretrained(tmp_path) as again:
            assert (again.backend, again.parts["compiler_options"]) == ("onediff", {"backend": "eager"})
            assert again.resolution.because["compiler"][0].file == "configuration.json"
            assert_equal([floats(again.native, prompt) for prompt in PROMPTS], expected, tolerance=0.0)
        with Model.from_pretrained(tmp_path, backend="diffusers") as other:
            assert_equal([floats(other.native, prompt) for prompt in PROMPTS], expected, tolerance=0.0)
        assert_equal([floats(loaded.native, prompt) for prompt in PROMPTS], expected, tolerance=0.0)

    def test_diffusers_alone_reads_it(self, loaded: Any, tmp_path: Path) -> None:
        loaded.save_pretrained(tmp_path)
        theirs = reference(REFERENCE, {"folder": str(tmp_path), "prompts": PROMPTS})
        assert_equal([floats(loaded.native, prompt) for prompt in PROMPTS], theirs)

    def test_one_component(self, folder: Path, tmp_path: Path) -> None:
        import torch

        from modelscope_ext import Model

        generator = torch.Generator().manual_seed(0)
        call = {
            "sample": torch.randn(1, 4, 8, 8, generator=generator),
            "timestep": 3,
            "encoder_hidden_states": torch.randn(1, 5, 16, generator=generator),
        }
        with Model.from_pretrained(folder / "unet") as model, torch.inference_mode():
            expected = model.native(**call).sample
        with Model.from_pretrained(folder / "unet", backend="onediff", **EAGER) as model, torch.inference_mode():
            assert list(model.parts["compiled"]) == ["UNet2DConditionModel"]
            assert_equal([model.native(**call).sample], [expected], tolerance=0.0)
            model.save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "UNet2DConditionModel"
        with pytest.raises(OptionError, match="one component"):
            Model.from_pretrained(folder / "unet", backend="onediff", **EAGER, ignores=("unet",))


class TestCompilers:
    """What is chosen and refused; no library is imported."""

    def test_nothing_installed_is_an_error_with_the_alternatives(self) -> None:
        with pytest.raises(MissingRequirement, match="neither is installed") as caught:
            choose({}, {}, "here")
        said = str(caught.value)
        assert "pip install --pre oneflow" in said and "pip install nexfort" in said
        assert "compiler='torch'" in said and "not the acceleration" in said and "backend='diffusers'" in said

    @pytest.mark.parametrize("name", ["oneflow", "nexfort"])
    def test_an_asked_one_that_is_missing(self, name: str) -> None:
        with pytest.raises(MissingRequirement, match=f"compiler='{name}' needs {name}") as caught:
            choose({"compiler": name}, {}, "here")
        assert "compiler='torch'" in str(caught.value)

    def test_the_placeholder_of_oneflow_is_not_oneflow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path, "oneflow", "0.7.0")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(MissingRequirement, match=r"needs oneflow>=0.9; 0.7.0 is installed"):
            choose({"compiler": "oneflow"}, {}, "here")
        with pytest.raises(MissingRequirement, match="neither is installed"):
            choose({}, {}, "here")

    @pytest.mark.parametrize(
        ("there", "chosen"), [(["nexfort"], "nexfort"), (["nexfort", "oneflow"], "oneflow"), (["oneflow"], "oneflow")]
    )
    def test_the_first_that_is_installed_is_the_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], chosen: str
    ) -> None:
        for name in there:
            install(tmp_path, name, "1.0")
        monkeypatch.syspath_prepend(str(tmp_path))
        settings = choose({}, {}, "here")
        assert settings.compiler.name == chosen
        assert (settings.because[0].file, settings.because[0].value) == ("(environment)", chosen)
        assert choose({"compiler": "torch"}, {}, "here").compiler.name == "torch"

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"compiler": "torhc"}, "Did you mean 'torch'"),
            ({"compiler": "inductor"}, "inductor is the default backend of torch.compile: pass compiler='torch'"),
            ({"compiler": 3}, "expected one of"),
            ({"compiler": "torch", "compiler_options": "eager"}, "expected a dict"),
            ({"compiler": "torch", "compiler_options": {1: 2}}, "expected a dict"),
            ({"compiler": "torch", "ignores": 3}, "expected names of components"),
            ({"compiler": "torch", "ignores": [""]}, "expected names of components"),
        ],
    )
    def test_a_wrong_argument_is_named(self, asked: dict[str, Any], said: str) -> None:
        with pytest.raises(OptionError, match=said):
            choose(asked, {}, "here")

    def test_the_caller_beats_the_file(self) -> None:
        said = declared({"onediff": {**EAGER, "ignores": ["vae"]}}, "here")
        assert choose({}, said, "here").options == {"backend": "eager"}
        assert choose({"compiler_options": {"dynamic": True}}, said, "here").options == {"dynamic": True}
        assert choose({"ignores": ()}, said, "here").ignores == ()
        assert choose({"compiler": "torch"}, {"compiler": "oneflow", "ignores": ["vae"]}, "here").ignores == ()
        said = choose({"ignores": "unet"}, said, "here")
        assert [(one.file, one.key) for one in said.because] == [
            ("configuration.json", "onediff.compiler"),
            ("configuration.json", "onediff.compiler_options"),
            ("(argument)", "ignores"),
        ]

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("torch", "expected an object"),
            ({"compiler": "gcc"}, "onediff.compiler='gcc': expected"),
            ({"compiler_options": {}}, "onediff.compiler=None: expected"),
            ({"compiler": "torch", "ignore": []}, "Did you mean 'ignores'"),
            ({"compiler": "torch", "compiler_options": []}, "expected an object"),
            ({"compiler": "torch", "compiler_options": {"options": {"cpp.cxx": ["sh"]}}}, "a file may not set it"),
            ({"compiler": "torch", "compiler_options": {"mode": {"x": 1}}}, "a file may not set it"),
            ({"compiler": "oneflow", "compiler_options": {"graph_file": "/etc/x"}}, "a file may not set it"),
        ],
    )
    def test_what_a_file_may_not_say(self, value: Any, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            declared({"onediff": value}, "here")


@pytest.mark.pt
class TestRefusals:
    def test_the_compiler_is_looked_for_before_anything_is_read(self, folder: Path) -> None:
        resolution = Resolution(Source("local", path=str(folder)), "pytorch", "onediff", ("text-to-image",))
        with witness() as seen, pytest.raises(MissingRequirement, match="neither is installed"):
            OneDiff().load(folder, resolution, Grants.of())
        assert seen.below(folder) == []
        assert not {"torch", "diffusers", "onediff", "onediffx", "oneflow", "nexfort"} & set(seen.imported)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"compiler": "oneflow"}, "needs oneflow"),
            ({"compiler": "torch", "compiler_options": {"backnd": "eager"}}, "Did you mean 'backend'"),
            ({"compiler": "torch", "compiler_options": {"backend": "eagre"}}, "Did you mean 'eager'"),
            ({"compiler": "torch", "compiler_options": {"backend": 3}}, "expected a str"),
            ({"compiler": "torch", "compiler_options": {"dynamic": "yes"}}, "expected a bool"),
            ({"compiler": "torch", "compiler_options": {"mode": "fast"}}, "no mode 'fast'"),
            ({"compiler": "torch", "compiler_options": {"backend": "eager", "mode": "default"}}, "'inductor' of torch"),
            ({"compiler": "torch", "compiler_options": {"mode": "default", "options": {}}}, "pass mode or options"),
            ({"compiler": "torch", "compiler_options": {"options": {"max_autotun": 1}}}, "no option 'max_autotun'"),
            ({**EAGER, "ignores": ("unett",)}, "no component 'unett'. Did you mean 'unet'"),
            ({**EAGER, "ignores": ("unet", "text_encoder", "vae")}, "onediff compiles none of the components"),
            ({**EAGER, "device_map": "auto"}, "one device"),
            ({**EAGER, "compilr": 1}, "compilr"),
        ],
    )
    def test_an_argument_that_changes_nothing_is_an_error(self, folder: Path, options: Any, said: str) -> None:
        from modelscope_ext import Model
        from modelscope_ext.errors import ModelScopeExtError

        with pytest.raises(ModelScopeExtError, match=said):
            Model.from_pretrained(folder, backend="onediff", **options)

    def test_oneflows_options_are_the_fields_of_onediffs_own_record(self) -> None:
        from onediff.infer_compiler import OneflowCompileOptions

        from modelscope_ext.models.backends._onediff.options import oneflow_options

        assert oneflow_options({}) is None
        assert oneflow_options({"dynamic": False}) == OneflowCompileOptions(dynamic=False)
        with pytest.raises(OptionError, match="Did you mean 'use_graph'"):
            oneflow_options({"use_grap": False})

    def test_an_object_of_the_callers_is_diffusers(self, loaded: Any) -> None:
        import modelscope_ext

        assert OneDiff().adopt(loaded.native) is None
        pipe = modelscope_ext.pipeline("text-to-image", loaded.native)
        assert pipe.model.backend == "diffusers"


@pytest.mark.pt
class TestCode:
    def test_the_snippet_runs_alone_and_makes_the_same_pictures(self, folder: Path, loaded: Any, plain: Any) -> None:
        text = loaded.resolution.code()
        assert "onediffx.compile_pipe(pipe, backend='torch', options={'backend': 'eager'})" in text
        more = """
result = [
    pipe(prompt, num_inference_steps=2, generator=torch.Generator().manual_seed(3), output_type="np").images
    for prompt in arg
]
"""
        theirs = reference(text + more, list(PROMPTS), fresh=True)
        assert_equal([floats(plain.native, prompt) for prompt in PROMPTS], theirs)

    def test_a_backend_that_is_a_function_compiles_and_is_left_out_of_the_snippet(
        self, folder: Path, plain: Any
    ) -> None:
        from modelscope_ext import Model

        seen = []

        def counting(graph: Any, example: Any) -> Any:
            seen.append(graph)
            return graph.forward

        own = {"compiler": "torch", "compiler_options": {"backend": counting}, "ignores": ("vae", "text_encoder")}
        with Model.from_pretrained(folder, backend="onediff", **own) as model:
            assert_equal(*([floats(one.native, p) for p in PROMPTS] for one in (model, plain)), tolerance=0.0)
            assert seen and "torch.compile(backend=counting)" in model.resolution.explain()
            text, dumped = model.resolution.code(), json.dumps(model.resolution.to_dict())
            assert model.config.onediff == {"compiler": "torch", "ignores": ["vae", "text_encoder"]}
        assert "compile_pipe(pipe, backend='torch', ignores=['vae', 'text_encoder'])" in text
        assert "counting" in dumped

    def test_before_a_load_it_shows_what_one_would_use_here(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "backend='torch')" in resolve(folder, backend="onediff").code()
        install(tmp_path, "nexfort", "1.0")
        monkeypatch.syspath_prepend(str(tmp_path))
        text = resolve(folder, backend="onediff").code()
        assert "onediffx.compile_pipe(pipe, backend='nexfort')" in text and "torch.compile" not in text
        one = resolve(folder / "unet", backend="onediff").code()
        compile(one, "snippet", "exec")


@pytest.mark.pt
def test_importing_onediff_prints_nothing_and_needs_none_of_its_extras(tmp_path: Path) -> None:
    script = (
        "import os, sys\nbefore = dict(os.environ)\nimport onediffx\nimport onediff.infer_compiler\n"
        "assert dict(os.environ) == before\nassert not {'onefx', 'omegaconf'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**OFFLINE, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


INDEX = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}


def of(more: dict[str, Any], **options: Any) -> Resolution:
    files = {"model_index.json": INDEX, **more}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in files.items()}
    weights = {"unet/diffusion_pytorch_model.safetensors": 9}
    return resolve(Snapshot.from_mapping(texts, weights), installed=False, **options)


class TestItIsNeverInferred:
    @pytest.mark.parametrize(
        ("more", "options"),
        [
            ({}, {}),
            ({}, {"framework": "pytorch"}),
            ({}, {"task": "image-to-image"}),
            ({"README.md": "---\nlibrary_name: onediff\ntags: [onediff]\n---\n"}, {}),
            ({"configuration.json": {"framework": "pytorch", "task": "text-to-image"}}, {}),
            ({"configuration.json": {"onediff": {"compiler": "torch"}}}, {}),
        ],
    )
    def test_a_folder_of_diffusers_is_diffusers(self, more: dict[str, Any], options: dict[str, Any]) -> None:
        info = of(more, **options)
        assert info.backend == "diffusers"
        assert "onediff" in [other.backend for other in info.alternatives]

    def test_not_even_where_diffusers_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from modelscope_ext.models.decision import ties

        monkeypatch.setattr(ties, "is_installed", lambda name: name in ("torch", "onediff", "onediffx"))
        monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "pytorch")
        texts = {"model_index.json": json.dumps(INDEX)}
        assert (
            resolve(Snapshot.from_mapping(texts, {"unet/diffusion_pytorch_model.safetensors": 9})).backend
            == "diffusers"
        )

    @pytest.mark.parametrize(
        ("more", "options", "file"),
        [
            ({}, {"backend": "onediff"}, "(argument)"),
            ({}, {"backend": "OneDiff"}, "(argument)"),
            ({"configuration.json": {"backend": "onediff"}}, {}, "configuration.json"),
            ({}, {"cfg_dict": {"backend": "onediff", "tasks": ["text-to-image"]}}, "(argument)"),
        ],
    )
    def test_asked_or_declared_it_is_onediff_with_what_diffusers_knows(
        self, more: dict[str, Any], options: dict[str, Any], file: str
    ) -> None:
        info, theirs = of(more, **options), of({})
        assert (info.backend, info.loadable) == ("onediff", True)
        assert (info.framework, info.tasks, info.weights) == (theirs.framework, theirs.tasks, theirs.weights)
        assert info.because["backend"][0].file == file
        assert "diffusers" in [other.backend for other in info.alternatives]
        assert {"onediff>=1.2", "onediffx>=1.2", "diffusers>=0.38"} <= set(info.requirement_dependency)
        assert "backend-contradiction" not in [finding.code for finding in info.findings]

    def test_what_diffusers_does_not_load_is_no_alternative_of_it(self) -> None:
        texts = {"config.json": json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"]})}
        info = resolve(Snapshot.from_mapping(texts, {"model.safetensors": 9}), installed=False)
        assert "onediff" not in [other.backend for other in info.alternatives]
