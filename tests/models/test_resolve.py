"""The decision: who wins over whom, what is remarked, what is an error, and what may break a tie."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext.errors import (
    AmbiguousModel,
    MalformedMetadata,
    ModelNotFound,
    ModelScopeExtError,
    NotAModel,
    OptionError,
)
from modelscope_ext.metadata.snapshot import Snapshot
from modelscope_ext.models import resolve as module
from modelscope_ext.models.backend import Backend
from modelscope_ext.models.builder import BACKENDS, MODELS
from modelscope_ext.models.decision import ties
from modelscope_ext.models.resolution import Match, Reason, Resolution, Strength
from modelscope_ext.models.resolve import resolve

MLM = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
VIT = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
LLM = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
STUB = {"framework": "pytorch", "task": "text-generation", "allow_remote": True}


def of(files: dict[str, Any], **options: Any) -> Resolution:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in files.items() if not isinstance(v, int)}
    options.setdefault("installed", False)
    return resolve(Snapshot.from_mapping(texts, {n: v for n, v in files.items() if isinstance(v, int)}), **options)


def card(**keys: Any) -> str:
    return "---\n" + "\n".join(f"{k}: {json.dumps(v)}" for k, v in keys.items()) + "\n---\n"


def codes(info: Resolution) -> set[str]:
    return {finding.code for finding in info.findings}


class TestOrder:
    def test_the_caller_wins_over_everything(self) -> None:
        files = {"config.json": MLM, "configuration.json": {"task": "feature-extraction"}, "model.safetensors": 9}
        info = of(files, task="token_classification")
        assert info.tasks[:2] == ("token-classification", "feature-extraction")
        assert info.because["tasks"][0].file == "(argument)"
        assert "task-not-served" in codes(info)

    def test_a_declared_task_that_the_files_can_serve_comes_first(self) -> None:
        info = of({"config.json": MLM, "configuration.json": {"framework": "Pytorch", "task": "sentence-embedding"}})
        assert info.tasks == ("sentence-similarity", "fill-mask")
        assert info.because["tasks"][0].file == "configuration.json"

    def test_a_stub_that_the_files_cannot_serve_is_dropped(self) -> None:
        info = of({"config.json": VIT, "configuration.json": STUB})
        assert info.tasks == ("image-classification",)
        (finding,) = (f for f in info.findings if f.code == "task-dropped")
        assert (finding.file, finding.field) == ("configuration.json", "task")
        assert "text-generation" in finding.message and "image-classification" in finding.message

    def test_a_full_declaration_is_taken_and_the_contradiction_remarked(self) -> None:
        declared = {"framework": "pytorch", "backend": "transformers", "tasks": ["text-generation"]}
        info = of({"config.json": VIT, "configuration.json": declared})
        assert info.tasks == ("text-generation", "image-classification")
        assert "task-contradiction" in codes(info)
        assert info.because["backend"][0].key == "backend"

    def test_cfg_dict_stands_in_for_the_file_and_is_not_changed(self) -> None:
        cfg = {"framework": "pytorch", "tasks": ["feature-extraction"]}
        before = json.dumps(cfg)
        info = of({"config.json": MLM, "configuration.json": {"task": "fill-mask"}}, cfg_dict=cfg)
        assert info.default_task == "feature-extraction"
        assert info.because["tasks"][0].file == "(argument)"
        assert json.dumps(cfg) == before

    def test_the_first_of_the_declared_tasks_is_the_default(self) -> None:
        cfg = {"backend": "transformers", "tasks": ["token-classification", "text-classification"]}
        assert of({"config.json": {"model_type": "bert"}}, cfg_dict=cfg).tasks[:2] == tuple(cfg["tasks"])

    def test_a_format_wins_over_a_tag_and_the_tag_over_what_can_be_read(self) -> None:
        adapter = {
            "adapter_config.json": {"peft_type": "LORA", "task_type": "CAUSAL_LM"},
            "README.md": card(library_name="transformers"),
        }
        info = of({**adapter, "config.json": LLM})
        assert info.backend == "peft" and "backend-tag-contradiction" in codes(info)
        assert (
            of({"config.json": LLM, "model.safetensors": 9, "README.md": card(library_name="vllm")}).backend == "vllm"
        )

    def test_a_mere_tag_tells_what_it_also_runs_in(self) -> None:
        files = {"config.json": LLM, "model.safetensors": 9}
        assert of({**files, "README.md": card(tags=["fp8", "vllm"])}).backend == "transformers"
        assert of({**files, "README.md": card(tags=["mlx"])}).backend == "mlx"
        assert of({"README.md": card(tags=["vllm"])}).backend == "vllm"

    def test_a_tag_whose_files_are_not_there_is_not_believed(self) -> None:
        info = of({"config.json": LLM, "model.safetensors": 9, "README.md": card(library_name="peft")})
        assert info.backend == "transformers"

    def test_a_card_that_the_architecture_contradicts_is_dropped(self) -> None:
        info = of({"config.json": LLM, "README.md": card(pipeline_tag="question-answering")})
        assert info.tasks == ("text-generation",) and "task-tag-dropped" in codes(info)

    def test_a_card_narrows_what_the_files_leave_open(self) -> None:
        t5 = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
        assert (
            of({"config.json": t5, "README.md": card(tags=["vietnamese", "translation"])}).default_task == "translation"
        )
        assert (
            of({"config.json": LLM, "README.md": card(pipeline_tag="text-to-speech")}).default_task == "text-to-speech"
        )
        assert of({"config.json": LLM, "README.md": card(tags=["summarization"])}).default_task == "text-generation"

    def test_a_widget_runs_what_it_says(self) -> None:
        readme = card(tasks=["auto-speech-recognition"], widgets=[{"task": "punctuation"}], frameworks=["onnx"])
        info = of({"README.md": readme})
        assert (info.backend, info.framework, info.default_task) == ("onnxruntime", "onnx", "token-classification")

    def test_onnxruntime_declared_as_framework(self) -> None:
        declared = {"framework": "onnxruntime", "task": "skin-retouching", "model_files": ["model.onnx"]}
        info = of({"configuration.json": declared, "model.onnx": 9, "pytorch_model.pt": 9})
        assert (info.backend, info.framework, info.default_task) == ("onnxruntime", "onnx", "skin-retouching")


class TestModelScope:
    def test_a_type_of_its_index_is_native_unless_a_format_claims_the_folder(self) -> None:
        native = {
            "framework": "pytorch",
            "task": "text-to-video-synthesis",
            "model": {"type": "latent-text-to-video-synthesis"},
        }
        info = of({"configuration.json": native})
        assert (info.backend, info.default_task, info.model_type) == (
            "modelscope",
            "text-to-video",
            "latent-text-to-video-synthesis",
        )
        pipeline = {"model_index.json": {"_class_name": "TextToVideoSDPipeline"}}
        assert of({"configuration.json": native, **pipeline}).backend == "diffusers"

    def test_a_type_of_its_own_code_gives_way_to_a_whole_transformers_folder(self) -> None:
        own = {
            "framework": "pytorch",
            "task": "chat",
            "model": {"type": "my-model"},
            "pipeline": {"type": "my-pipe"},
            "allow_remote": True,
        }
        assert of({"configuration.json": own, "ms_wrapper.py": 9}).backend == "modelscope"
        info = of({"configuration.json": own, "ms_wrapper.py": 9, "config.json": LLM, "model.safetensors": 9})
        assert info.backend == "transformers" and "modelscope" in {a.backend for a in info.alternatives}

    def test_funasr_declares_itself(self) -> None:
        declared = {"framework": "pytorch", "task": "auto-speech-recognition", "model": {"type": "funasr"}}
        info = of({"configuration.json": declared, "model.pt": 9})
        assert (info.backend, info.default_task) == ("funasr", "automatic-speech-recognition")

    def test_a_bare_card_in_its_form(self) -> None:
        info = of({"README.md": card(tasks=["sentence-embedding"], frameworks="PyTorch", domain=["nlp"])})
        assert (info.backend, info.framework, info.default_task) == ("modelscope", "pytorch", "sentence-similarity")

    @pytest.mark.parametrize(
        ("spelling", "framework"),
        [("Pytorch", "pytorch"), ("PyTorch", "pytorch"), ("MindSpore", "mindspore"), ("tensorflow", "tensorflow")],
    )
    def test_frameworks_in_every_spelling(self, spelling: str, framework: str) -> None:
        native = {"framework": spelling, "task": "image-denoising", "model": {"type": "nafnet"}}
        assert of({"configuration.json": native}).framework == framework


class TestFrameworkAndTies:
    def test_declared_mindspore_turns_a_transformers_folder_over_to_mindone(self) -> None:
        info = of(
            {
                "config.json": LLM,
                "model.safetensors": 9,
                "configuration.json": {"framework": "mindspore", "task": "chat"},
            }
        )
        assert (info.backend, info.framework, info.loadable) == ("mindone", "mindspore", True)

    def test_the_argument_does_it_too(self) -> None:
        info = of({"config.json": LLM, "model.safetensors": 9}, framework="MindSpore")
        assert (info.backend, info.framework) == ("mindone", "mindspore")
        info = of({"model_index.json": {"_class_name": "FluxPipeline"}}, framework="ms")
        assert (info.backend, info.default_task) == ("mindone", "text-to-image")

    def test_framework_onnx_takes_the_graphs_beside_the_weights(self) -> None:
        info = of({"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9}, framework="onnx")
        assert (info.backend, info.weights.files, info.default_task) == (
            "onnxruntime",
            ("onnx/model.onnx",),
            "fill-mask",
        )

    def test_a_framework_that_nothing_is_for(self) -> None:
        info = of({"config.json": MLM, "model.safetensors": 9}, framework="paddle")
        assert info.framework == "pytorch" and "framework-not-there" in codes(info)

    def test_a_declared_framework_that_the_weights_contradict(self) -> None:
        info = of({"m.gguf": 9, "configuration.json": {"framework": "tensorflow", "task": "chat"}})
        assert info.framework == "ggml" and "framework-contradiction" in codes(info)

    def test_nothing_is_looked_up_with_installed_false(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(name: str) -> bool:
            raise AssertionError(f"looked for {name}")

        monkeypatch.setattr(ties, "is_installed", never)
        monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "onnx")
        info = of({"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9})
        assert info.backend == "transformers" and info.missing == () and info.installed is False

    def test_what_is_installed_breaks_a_tie_and_is_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9}
        monkeypatch.setattr(ties, "is_installed", lambda name: name == "onnxruntime")
        info = of(files, installed=True)
        assert info.backend == "onnxruntime"
        assert info.because["backend"][0].file == "(environment)"
        assert "torch" in info.because["backend"][0].text
        monkeypatch.setattr(ties, "is_installed", lambda name: True)
        assert of(files, installed=True).backend == "transformers"

    def test_a_tie_is_not_broken_against_what_is_declared_or_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9}
        monkeypatch.setattr(ties, "is_installed", lambda name: name == "onnxruntime")
        assert of(files, installed=True, backend="transformers").backend == "transformers"
        assert of(files, installed=True, cfg_dict={"backend": "transformers"}).backend == "transformers"

    @pytest.mark.parametrize(
        "more",
        [
            {"modules.json": [{"type": "sentence_transformers.models.Transformer"}]},
            {"README.md": card(library_name="transformers")},
        ],
        ids=["a format", "a card that names the library"],
    )
    def test_a_stronger_claim_is_no_tie(self, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
        monkeypatch.setattr(ties, "is_installed", lambda name: name == "onnxruntime")
        info = of({"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9, **more}, installed=True)
        assert info.framework == "pytorch"

    @pytest.mark.parametrize("config", [LLM, None], ids=["readable", "a format"])
    def test_twins_are_tied_whatever_their_claim(self, monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
        files = {"config.json": config} if config else {"model_index.json": {"_class_name": "FluxPipeline"}}
        monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
        assert of(files, installed=True).backend == "mindone"
        monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "onnx")

    def test_nothing_installed_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ties, "is_installed", lambda name: False)
        files = {"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9}
        assert of(files, installed=True).backend == of(files, installed=False).backend == "transformers"

    def test_two_registered_classes_that_fit_alike_are_ambiguous(self) -> None:
        with MODELS.temporary():
            for name in ("One", "Two"):
                path = f"somewhere:{name}"
                MODELS.register_module(module_name=name, module_cls=path, backend="transformers", task="fill-mask")
            with pytest.raises(AmbiguousModel, match="equally good"):
                of({"config.json": MLM, "model.safetensors": 9})

    def test_no_tie_is_broken_towards_what_cannot_run_the_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        marker = {"model_type": "superpoint", "architectures": ["SuperPointForKeypointDetection"]}
        detector = {"model_type": "detr", "architectures": ["DetrForObjectDetection"]}
        monkeypatch.setattr(ties, "is_installed", lambda name: name == "onnxruntime")
        for config, expected in ((marker, "transformers"), (detector, "onnxruntime")):
            folder = {"config.json": config, "model.safetensors": 9, "onnx/model.onnx": 9}
            assert of(folder, installed=True).backend == expected

    def test_the_environment_names_a_framework(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ties, "is_installed", lambda name: True)
        monkeypatch.setenv("MODELSCOPE_EXT_FRAMEWORK", "mindspore")
        info = of({"config.json": LLM, "model.safetensors": 9}, installed=True)
        assert (info.backend, info.because["backend"][0].key) == ("mindone", "MODELSCOPE_EXT_FRAMEWORK")
        assert of({"README.md": card(library_name="timm")}, installed=True).backend == "timm"

    def test_an_embedder_with_only_graphs(self) -> None:
        files = {"modules.json": [{"type": "sentence_transformers.models.Transformer"}], "config.json": MLM}
        info = of({**files, "onnx/model.onnx": 9, "tokenizer.json": 9})
        assert (info.backend, info.default_task) == ("onnxruntime", "sentence-similarity")
        assert of({**files, "onnx/model.onnx": 9, "model.safetensors": 9}).backend == "sentence-transformers"


class TestAskedBackend:
    def test_aliases(self) -> None:
        files = {"config.json": MLM, "model.safetensors": 9, "onnx/model.onnx": 9}
        assert of(files, backend="onnx").backend == "onnxruntime"
        assert of(files, backend="Sentence_Transformers").backend == "sentence-transformers"

    def test_graphs_made_for_javascript_run_in_onnxruntime(self) -> None:
        files = {"config.json": MLM, "onnx/model.onnx": 9, "onnx/model_quantized.onnx": 9}
        assert of(files).backend == "transformers.js" and of(files).loadable
        assert of(files, backend="onnx").backend == "onnxruntime"

    def test_a_backend_that_no_file_speaks_for_is_taken_with_a_finding(self) -> None:
        info = of({"config.json": MLM, "model.safetensors": 9}, backend="diffusers")
        assert info.backend == "diffusers" and "backend-not-there" in codes(info)
        assert of({"weights.pth": 9}, backend="transformers").backend == "transformers"

    def test_a_declared_backend_that_nobody_knows(self) -> None:
        info = of({"config.json": MLM}, cfg_dict={"backend": "acme-engine", "task": "fill-mask"})
        assert (info.backend, info.loadable, info.default_task) == ("acme-engine", False, "fill-mask")


class TestArguments:
    def test_unknown_backend(self) -> None:
        with pytest.raises(
            OptionError, match=r"Unknown backend 'transfomers'\. Did you mean 'transformers'\? Loadable: .*onnxruntime"
        ) as error:
            of({"config.json": MLM}, backend="transfomers")
        assert "Also recognised: adapters" in str(error.value) and "modelscope-ext list backends" in str(error.value)

    def test_unknown_task(self) -> None:
        with pytest.raises(
            OptionError, match=r"Unknown task 'fil-mask'\. Did you mean 'fill-mask'\?.*modelscope-ext list tasks"
        ):
            of({"config.json": MLM}, task="fil-mask")

    def test_unknown_framework(self) -> None:
        with pytest.raises(
            OptionError, match=r"Unknown framework 'pytroch'\. Did you mean 'pytorch'\? Known: .*mindspore"
        ):
            of({"config.json": MLM}, framework="pytroch")

    def test_unknown_variant(self) -> None:
        files = {"config.json": MLM, "model.safetensors": 9, "model.fp16.safetensors": 5}
        assert of(files).weights.files == ("model.safetensors",)
        assert of(files, variant="fp16").weights.files == ("model.fp16.safetensors",)
        with pytest.raises(
            OptionError, match=r"variant='fp61': no weight file has it\. Did you mean 'fp16'\? There are: fp16"
        ):
            of(files, variant="fp61")

    def test_a_task_that_the_repo_itself_declares_is_known(self) -> None:
        files = {
            "configuration.json": {"framework": "pytorch", "task": "rex-uninlu", "pipeline": {"type": "rex"}},
            "model.safetensors": 9,
        }
        assert of(files, task="rex-uninlu").default_task == "rex-uninlu"


class TestNotAModel:
    @pytest.mark.parametrize(
        ("files", "words"),
        [
            ({}, "is empty"),
            ({"tokenizer.json": "{}", "tokenizer_config.json": "{}"}, "is a tokenizer and no model"),
            ({"configuration.json": {"a": 1, "port": 80}}, "belongs to another program"),
            ({"model_index.json": {"layer.0": {"offset": 0, "size": 9}}, "main.cpp": 9}, "has no _class_name"),
            ({"train.py": 9, "README.md": "# hello\n"}, "code and no model"),
            ({"model.pth": 9}, "weights without a word about their library: model.pth"),
            ({"README.md": card(sdk="gradio", title="demo"), "app.py": 9}, "code and no model"),
            ({"README.md": card(task_categories=["text-generation"], size_categories=["n<1K"])}, "none of its 1 files"),
            ({"config.json": {"name": "app", "port": 80}}, "none of its 1 files"),
            ({"config.json": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}, "git lfs pull"),
            ({"configuration.json": {}}, "none of its 1 files"),
            (
                {
                    "configuration.json": {"framework": "Pytorch", "task": "chat"},
                    "lib/x.py": 9,
                    "README.md": card(frameworks="PyTorch"),
                },
                "code and no model",
            ),
            ({"encoder/config.json": MLM}, "one level down: pass (mapping)/encoder, or subfolder='encoder'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_says_what_it_is_instead(self, files: dict[str, Any], words: str) -> None:
        with pytest.raises(NotAModel) as error:
            of(files)
        assert words in str(error.value)

    def test_several_models_one_level_down(self) -> None:
        with pytest.raises(AmbiguousModel, match=r"2 models one level down: a, b\. Choose one with subfolder="):
            of({"a/config.json": MLM, "b/adapter_config.json": {"peft_type": "LORA"}})

    def test_no_such_folder_and_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFound):
            resolve(tmp_path / "nothing")
        (tmp_path / "model.bin").write_bytes(b"x")
        with pytest.raises(ModelNotFound, match="is a file"):
            resolve(tmp_path / "model.bin")

    def test_broken_json_is_named_with_its_line(self) -> None:
        with pytest.raises(MalformedMetadata, match=r"config\.json.*line 2"):
            of({"config.json": '{"model_type": "bert",\n "x": }'})

    def test_a_stranger_s_text_is_shown_safely(self) -> None:
        evil = "chat\u202e\x1b[31m"
        declared = {"framework": "pytorch", "tasks": [evil, "text-generation"], "backend": "transformers"}
        text = of({"config.json": {**VIT, "_name_or_path": evil}, "configuration.json": declared}).explain()
        assert all(line.isprintable() for line in text.splitlines()) and "\\x1b" in text


class TestRegistry:
    def test_a_registered_class_wins_and_is_a_reason(self) -> None:
        with MODELS.temporary():

            @MODELS.register_module(backend="transformers", task="fill-mask", framework="pytorch")
            class Mine:
                pass

            info = of({"config.json": MLM})
            assert info.because["backend"][0].file == "(registry)" and info.because["backend"][0].key == "Mine"
            assert of({"config.json": VIT}).because["backend"][0].file == "config.json"
        assert of({"config.json": MLM}).because["backend"][0].file == "config.json"

    def test_it_makes_a_recognised_library_loadable_and_gives_its_tasks(self) -> None:
        with MODELS.temporary():

            @MODELS.register_module(backend="timm")
            class Mine:
                tasks = ("image-feature-extraction",)

            files = {"config.json": {"architecture": "resnet18", "pretrained_cfg": {}}}
            assert not of(files, task="image-classification").loadable
            info = of(files)
            assert (info.backend, info.loadable, info.default_task) == ("timm", True, "image-feature-extraction")
            assert info.because["tasks"][0].file == "(registry)"

    def test_modelscopes_type_names_the_class(self) -> None:
        with MODELS.temporary():

            @MODELS.register_module("my-task", module_name="my-model")
            class Mine:
                pass

            declared = {
                "framework": "pytorch",
                "task": "my-task",
                "model": {"type": "my-model"},
                "pipeline": {"type": "x"},
            }
            info = of({"configuration.json": declared})
            assert (info.backend, info.default_task, info.loadable) == ("modelscope", "my-task", True)
            assert of({"config.json": MLM}, task="my-task").default_task == "my-task"

    def test_a_backend_of_another_package_claims_its_folders(self) -> None:
        class Acme(Backend):
            name = "acme"

            def probe(self, evidence: Any) -> Match | None:
                if not evidence.has("acme.toml"):
                    return None
                reason = Reason("acme.toml", "(name)", "acme.toml", "its own format")
                return Match("acme", Strength.FORMAT, (reason,), framework="pytorch", tasks=("fill-mask",))

        with BACKENDS.temporary():
            BACKENDS.register("acme", Acme)
            info = of({"acme.toml": 9})
            assert (info.backend, info.loadable, info.default_task) == ("acme", True, "fill-mask")
            assert of({"config.json": MLM}).backend == "transformers"
            declared = of({"acme.toml": 9, "configuration.json": {"backend": "acme", "task": "text-ranking"}})
            assert (declared.backend, declared.loadable, declared.default_task) == ("acme", True, "text-ranking")
        with pytest.raises(NotAModel):
            of({"acme.toml": 9})

    def test_a_broken_backend_breaks_nobody_else(self) -> None:
        class Broken(Backend):
            name = "broken"

            def probe(self, evidence: Any) -> Match | None:
                raise RuntimeError("out of order")

        with BACKENDS.temporary():
            BACKENDS.register("broken", Broken)
            BACKENDS.register("absent", "no_such_module_here:Absent")
            info = of({"config.json": MLM})
            assert info.backend == "transformers"
            texts = [finding.message for finding in info.findings if finding.code == "backend-broken"]
            assert len(texts) == 2 and any("out of order" in text for text in texts)


class TestRemembered:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(MLM))
        old = time.time() - 60
        os.utime(tmp_path / "config.json", (old, old))
        return tmp_path

    def test_a_change_is_seen(self, folder: Path) -> None:
        time.sleep(0.15)  # a file that changed this instant could change again within its time stamp
        first = resolve(folder, installed=False)
        assert resolve(folder, installed=False) is first
        assert resolve(folder, installed=False, task="fill-mask") is not first
        (folder / "config.json").write_text(json.dumps(VIT))
        assert resolve(folder, installed=False).default_task == "image-classification"
        (folder / "modules.json").write_text("[]")
        assert resolve(folder, installed=False).source == first.source

    def test_registering_a_class_is_seen(self, folder: Path) -> None:
        time.sleep(0.15)
        resolve(folder, installed=False)
        with MODELS.temporary():
            MODELS.register_module(backend="transformers", task="fill-mask", module_cls=type("Mine", (), {}))
            assert resolve(folder, installed=False).because["backend"][0].file == "(registry)"
        assert resolve(folder, installed=False).because["backend"][0].file == "config.json"

    def test_what_is_installed_meanwhile_is_seen(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "site"
        site.mkdir()
        monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
        declared = {"framework": "pytorch", "task": "fill-mask", "requirement_dependency": ["no-such-package-here"]}
        (folder / "configuration.json").write_text(json.dumps(declared))
        time.sleep(0.15)
        first = resolve(folder)
        assert any("no-such-package-here" in line for line in first.missing)
        assert resolve(folder) is first
        (site / "no_such_package_here-1.0.dist-info").mkdir()
        (site / "no_such_package_here-1.0.dist-info" / "METADATA").write_text("Name: no-such-package-here\n")
        assert not any("no-such-package-here" in line for line in resolve(folder).missing)

    def test_it_is_bounded_and_can_be_forgotten(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        time.sleep(0.15)
        module.cache_clear()
        monkeypatch.setattr(module, "_MOST_REMEMBERED", 2)
        for task in ("fill-mask", "feature-extraction", "text-ranking", None):
            resolve(folder, installed=False, task=task)
        assert len(module._REMEMBERED) == 2
        module.cache_clear()
        assert not module._REMEMBERED


class TestFields:
    def test_every_decided_field_has_its_reasons(self) -> None:
        info = of({"config.json": {**MLM, "quantization_config": {"quant_method": "gptq"}}, "model.safetensors": 9})
        assert set(info.because) == {"backend", "framework", "tasks", "model_type"}
        assert info.weights.quantization == "gptq" and "gptqmodel" in info.requirement_dependency
        assert json.dumps(info.to_dict())

    def test_requirements_are_the_backends_and_the_models(self) -> None:
        declared = {"framework": "pytorch", "task": "fill-mask", "requirement_dependency": ["no-such-package-here>=2"]}
        info = of({"config.json": MLM, "configuration.json": declared}, installed=True)
        assert info.requirement_dependency[-1] == "no-such-package-here>=2"
        assert any("no-such-package-here" in line and "pip install" in line for line in info.missing)
        assert of({"config.json": MLM, "configuration.json": declared}).missing == ()

    def test_shards_variants_and_training_leftovers(self) -> None:
        files = {
            "config.json": MLM, "model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 6,
            "pytorch_model.bin": 11, "optimizer.pt": 99, "training_args.bin": 9, "checkpoint-5/model.safetensors": 11,
        }  # fmt: skip
        weights = of(files).weights
        assert (weights.format, weights.bytes) == ("safetensors", 11)
        assert weights.files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

    def test_a_pipeline_takes_each_component_once(self) -> None:
        files = {
            "model_index.json": {"_class_name": "StableDiffusionPipeline"}, "sd.safetensors": 99, "vae/config.json": {},
            "unet/diffusion_pytorch_model.safetensors": 5, "unet/diffusion_pytorch_model.fp16.safetensors": 3,
            "unet/diffusion_pytorch_model.bin": 5, "vae/diffusion_pytorch_model.safetensors": 2,
        }  # fmt: skip
        names = ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
        assert of(files).weights.files == names
        assert of(files, variant="fp16").weights.files == ("unet/diffusion_pytorch_model.fp16.safetensors", names[1])


@pytest.mark.parametrize("value", [None, 3, [], {}, "", "x" * 5000, True, [None], {"a": {}}])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("config.json", "architectures"), ("config.json", "model_type"), ("config.json", "auto_map"),
        ("config.json", "id2label"), ("config.json", "rope_scaling"), ("config.json", "task_specific_params"),
        ("config.json", "quantization_config"), ("config.json", "_name_or_path"), ("config.json", "chronos_config"),
        ("model_index.json", "_class_name"), ("adapter_config.json", "task_type"),
        ("adapter_config.json", "auto_mapping"), ("adapter_config.json", "target_modules"),
        ("adapter_config.json", "base_model_name_or_path"), ("configuration.json", "task"),
        ("configuration.json", "tasks"), ("configuration.json", "framework"), ("configuration.json", "backend"),
        ("configuration.json", "model"), ("configuration.json", "pipeline"), ("modules.json", "type"),
    ],
)  # fmt: skip
def test_odd_values_never_raise_a_foreign_error(file: str, key: str, value: Any) -> None:
    base = {"config.json": dict(LLM), "model_index.json": {}, "adapter_config.json": {"peft_type": "LORA"}}
    document: Any = {**base.get(file, {}), key: value}
    files: dict[str, Any] = {"config.json": dict(LLM), "model.safetensors": 9, file: document}
    if file == "modules.json":
        files[file] = [document]
    try:
        info = of(files)
    except ModelScopeExtError as error:
        assert str(error)
    else:
        assert info.explain() and json.dumps(info.to_dict())
