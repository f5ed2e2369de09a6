"""The allow-list against what PyTorch itself writes."""

import pytest

from modelscope_ext.errors import ExecutableFormatRefused, MalformedMetadata, PickleRefused
from modelscope_ext.safety.pickles import check_pickle

pytestmark = pytest.mark.pt

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
          "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]  # fmt: skip


@pytest.fixture
def torch():
    import torch

    return torch


def save(torch, value, path, **kwargs):
    torch.save(value, path, **kwargs)
    return path


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_a_dense_tensor_passes(torch, tmp_path, dtype, older):
    if older and ((dtype[:4] == "uint" and dtype != "uint8") or dtype.startswith("float8")):
        dtype = "int64"  # the older container cannot hold these; PyTorch itself fails to write them
    tensors = {"w": torch.zeros(3, 4).to(getattr(torch, dtype)), "s": torch.tensor(1).to(getattr(torch, dtype))}
    path = save(torch, tensors, tmp_path / "m.bin", _use_new_zipfile_serialization=not older)
    check_pickle(path, file="m.bin")
    again = torch.load(path, weights_only=True)
    assert torch.equal(
        again["w"].float() if "8_" in dtype else again["w"], tensors["w"].float() if "8_" in dtype else tensors["w"]
    )


@pytest.mark.parametrize("older", [False, True])
def test_state_dicts_views_and_parameters_pass(torch, tmp_path, older):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Embedding(5, 2))
    module[0].bias = module[1].weight  # shared storage
    value = {
        "state_dict": module.state_dict(), "parameters": dict(module.named_parameters()), "epoch": 3, "lr": 1e-3,
        "view": torch.arange(12).reshape(3, 4).t()[1:], "empty": torch.empty(0, 5), "size": torch.Size([2]),
        "dtype": torch.float16, "names": ["a", None, (1, 2)],
    }  # fmt: skip
    check_pickle(save(torch, value, tmp_path / "m.pt", _use_new_zipfile_serialization=not older), file="m.pt")
    check_pickle(save(torch, module.state_dict(), tmp_path / "n.pt"), file="n.pt")


def test_a_transformers_checkpoint_passes(torch, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BertForSequenceClassification(config)
    check_pickle(save(torch, model.state_dict(), tmp_path / "pytorch_model.bin"), file="pytorch_model.bin")


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:.*quantiz")
def test_what_is_more_than_dense_tensors_is_refused(torch, tmp_path):
    values = {
        "module": torch.nn.Linear(2, 2),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(2))]),
    }
    for name, value in values.items():
        with pytest.raises(PickleRefused):
            check_pickle(save(torch, value, tmp_path / name), file=name)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_programs_and_unchecked_archives_are_refused(torch, tmp_path):
    from torch.serialization import set_crc32_options

    scripted = torch.jit.script(torch.nn.Linear(2, 2))
    scripted.save(str(tmp_path / "script.pt"))
    with pytest.raises(ExecutableFormatRefused):
        check_pickle(tmp_path / "script.pt", file="script.pt")
    set_crc32_options(False)
    try:
        path = save(torch, {"w": torch.ones(2)}, tmp_path / "nocrc.bin")
    finally:
        set_crc32_options(True)
    with pytest.raises(MalformedMetadata, match="checksum"):
        check_pickle(path, file="nocrc.bin")
