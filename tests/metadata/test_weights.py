import pytest

from modelscope_ext.metadata.weights import FORMATS, classify, format_of, weight_file

FOLDERS = {
    "transformers": ({"config.json": None, "model.safetensors": "safetensors", "pytorch_model.bin": "pickle",
                      "tf_model.h5": "h5", "flax_model.msgpack": "msgpack", "rust_model.ot": "rust",
                      "onnx/model.onnx": "onnx", "openvino/openvino_model.bin": "openvino",
                      "openvino/openvino_model.xml": "openvino", "coreml/x.mlpackage/Data/weight.bin": "coreml",
                      "tokenizer.json": None, "spiece.model": None, "vocab.txt": None, "README.md": None}),
    "training leftovers": ({"optimizer.pt": None, "scheduler.pt": None, "rng_state.pth": None, "rng_state_0.pth": None,
                            "training_args.bin": None, "scaler.pt": None, "random_states_0.pkl": None,
                            "optimizer.bin": None, "optimizer_0.bin": None, "sampler.bin": None, "scheduler.bin": None,
                            "trainer_state.json": None, "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt": None,
                            "events.out.tfevents.1.v2": None, ".msc": None, ".mdl": None, ".mv": None}),
    "mlc": ({"params_shard_0.bin": "mlc", "ndarray-cache.json": None, "mlc-chat-config.json": None}),
    "ctranslate2": ({"model.bin": "ct2", "vocabulary.txt": None, "config.json": None}),
    "ctranslate2, shared words": ({"model.bin": "ct2", "shared_vocabulary.json": None}),
    "fasttext or torch": ({"model.bin": "pickle", "config.json": None}),
    "ggml": ({"ggml-base.en.bin": "ggml", "llama-7b.ggmlv3.q4_0.bin": "ggml", "x.q5_K.bin": "ggml"}),
    "openvino beside its topology": ({"encoder.xml": "openvino", "encoder.bin": "openvino", "labels.xml": None}),
    "gguf": ({"m-Q4_K_M.gguf": "gguf", "m.f16.GGUF": "gguf"}),
    "paddle": ({"model_state.pdparams": "paddle", "inference.pdiparams": "paddle", "inference.pdmodel": "paddle"}),
    "keras": ({"saved_model.pb": "saved_model", "keras_metadata.pb": None, "variables/variables.index": "saved_model",
               "variables/variables.data-00000-of-00001": "saved_model", "m.keras": "keras", "frozen.pb": "pb"}),
    "tensorflow 1": ({"model.ckpt": "tf_checkpoint", "model.ckpt.index": "tf_checkpoint",
                      "model.ckpt.data-00000-of-00001": "tf_checkpoint", "model.ckpt.meta": None}),
    "mindspore": ({"mindspore_model.ckpt": "mindspore", "llama_rank_0-500_2.ckpt": "mindspore",
                   "net.mindir": "mindir"}),
    "stable diffusion": ({"v1-5-pruned.ckpt": "pickle", "unet/diffusion_pytorch_model.bin": "pickle"}),
    "devices": ({"m.rkllm": "rkllm", "m.rknn": "rknn", "m.nemo": "nemo", "m.tflite": "tflite", "m.mlmodel": "coreml",
                 "m.engine": "tensorrt", "m.pt2": "exported", "m.ptl": "torchscript", "m.pte": "executorch",
                 "m.mnn": "mnn", "m.om": "om"}),
    "onnx with outside data": ({"model.onnx": "onnx", "model.onnx_data": "onnx", "model.onnx_data_1": "onnx",
                                "decoder.onnx.data": "onnx"}),
    "scikit-learn": ({"model_head.pkl": "pkl", "model.joblib": "pkl", "m.skops": "skops", "config.pkl": None,
                      "cmvn_stats.npz": None, "weights.npz": "npz"}),
    "tensorflow.js": ({"model.json": None, "group1-shard1of2.bin": "tfjs"}),
    "ncnn": ({"m.ncnn.bin": "ncnn", "m.ncnn.param": None}),
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_formats_are_told_by_name_and_neighbours(folder):
    expected = FOLDERS[folder]
    assert {name: format_of(name, expected.keys()) for name in expected} == expected


def test_neighbours_of_other_folders_do_not_count():
    names = {"model.bin", "other/vocabulary.txt"}
    assert format_of("model.bin", names) == "pickle"


NAMES = [
    ("model.fp16.safetensors", "safetensors", "", "fp16", None),
    ("unet/diffusion_pytorch_model.fp16.safetensors", "safetensors", "unet", "fp16", None),
    ("unet/diffusion_pytorch_model.non_ema.bin", "pickle", "unet", "non_ema", None),
    ("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "safetensors", "unet", "fp16", (1, 2)),
    ("text_encoder/model-00002-of-00002.fp16.safetensors", "safetensors", "text_encoder", "fp16", (2, 2)),
    ("pytorch_model-00003-of-00003.bin", "pickle", "", None, (3, 3)),
    ("model.safetensors", "safetensors", "", None, None),
    ("v1.5.safetensors", "safetensors", "", None, None),
    ("consolidated.00.pth", "pickle", "", None, (1, 0)),
    ("onnx/model_quantized.onnx", "onnx", "onnx", "quantized", None),
    ("onnx/decoder_model_merged_q4f16.onnx", "onnx", "onnx", "q4f16", None),
    ("onnx/model.onnx", "onnx", "onnx", None, None),
    ("qwen2-7b-instruct-q4_k_m.gguf", "gguf", "", "q4_k_m", None),
    ("m.Q8_0.gguf", "gguf", "", "Q8_0", None),
    ("m-IQ3_XXS-00001-of-00003.gguf", "gguf", "", "IQ3_XXS", (1, 3)),
    ("llama-7b.gguf", "gguf", "", None, None),
]


@pytest.mark.parametrize(("name", "form", "folder", "variant", "shard"), NAMES)
def test_folder_variant_and_shard_are_read_from_the_name(name, form, folder, variant, shard):
    found = weight_file(name, 5, form)
    assert (found.folder, found.variant, found.shard, found.bytes) == (folder, variant, shard, 5)


def test_what_the_bytes_said_beats_the_name():
    sizes = {"a.ckpt": 1, "b.ckpt": 2, "config.json": 3}
    assert [w.format for w in classify(sizes, {"a.ckpt": "mindspore"})] == ["mindspore", "pickle"]


def test_every_format_is_a_word():
    assert all(form.replace("_", "").isalnum() and form.islower() for form in FORMATS.values())
