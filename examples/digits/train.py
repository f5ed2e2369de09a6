"""Train the small ViT that ships with modelscope_ext and write its folder: safetensors, ONNX, configs, card, samples.

    python train.py --output digits --samples digits_samples

The data are scikit-learn's handwritten digits (1,797 images of 8x8 pixels, values 0..16), split 80/20 with the classes
kept in proportion and a fixed seed. The network sees exactly what it will see in use: 8-bit grey values, rescaled and
normalised as `preprocessor_config.json` says. It is trained on one channel; the first layer is then widened to three
(weighted like the ITU-R 601 luma), because image pipelines hand every picture over as RGB. For grey pictures the two
networks are the same function; the script checks that, and that the ONNX graph agrees with torch.

One thread and fixed seeds make a run repeatable on one machine and one version of torch.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

SEED = 0
HELD_OUT = 0.2
LUMA = (0.299, 0.587, 0.114)
PROCESSOR = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 8, "width": 8},
}
MOST_BYTES = 300_000


def split() -> tuple[Any, Any, Any, Any]:
    """Return train images, held-out images (uint8 [n, 8, 8], 0 is background), train labels, held-out labels."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return tuple(train_test_split(images, digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=SEED))


def pixel_values(images: Any) -> Any:
    """Return uint8 [n, 8, 8] as float32 [n, 1, 8, 8], by the arithmetic of the image processor."""
    import numpy as np

    scaled = (images.astype(np.float64) * PROCESSOR["rescale_factor"]).astype(np.float32)
    return ((scaled - np.float32(0.5)) / np.float32(0.5))[:, None]


def build(channels: int) -> Any:
    """Return an untrained ViT for 8x8 pictures of `channels` channels."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=2,
            num_channels=channels,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
            id2label={i: str(i) for i in range(10)},
            label2id={str(i): i for i in range(10)},
            attn_implementation="eager",
        )
    )


def fit(images: Any, labels: Any, epochs: int, batch: int, rate: float) -> Any:
    """Train and return the one-channel model."""
    import torch

    torch.manual_seed(SEED)
    model = build(channels=1).train()
    x, y = torch.from_numpy(pixel_values(images)), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.05)
    shuffle = torch.Generator().manual_seed(SEED)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=shuffle).split(batch):
            optimizer.zero_grad()
            loss = loss_of(model(pixel_values=x[rows]).logits, y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:3d}/{epochs}: loss {total / len(x):.4f}")
    return model.eval()


def widen(narrow: Any) -> Any:
    """Return the three-channel model that computes what `narrow` computes on the luma of its input."""
    import torch

    wide = build(channels=3)
    state = narrow.state_dict()
    key = "vit.embeddings.patch_embeddings.projection.weight"
    state[key] = state[key] * torch.tensor(LUMA).view(1, 3, 1, 1)
    wide.load_state_dict(state)
    return wide.eval()


def logits_of(model: Any, images: Any) -> Any:
    """Return float32 [n, 10] from a torch model of one or three channels."""
    import torch

    x = torch.from_numpy(pixel_values(images)).repeat(1, model.config.num_channels, 1, 1)
    with torch.no_grad():
        return model(pixel_values=x).logits.numpy()


def export_onnx(model: Any, path: Path) -> None:
    """Write `model` as ONNX (opset 17) with a free batch size."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.model(pixel_values=pixel_values).logits

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor, which needs a further package
        torch.onnx.export(
            Logits().eval(),
            (torch.zeros(2, 3, 8, 8),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_axes={"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
        )


def check(model: Any, narrow: Any, path: Path, images: Any, labels: Any) -> dict[str, float]:
    """Return held-out accuracy of torch and ONNX and how far they differ; raise where they disagree."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = pixel_values(images).repeat(3, axis=1)
    onnx = session.run(["logits"], {"pixel_values": x})[0]
    one = np.concatenate([session.run(["logits"], {"pixel_values": row[None]})[0] for row in x])
    torch_wide, torch_narrow = logits_of(model, images), logits_of(narrow, images)
    found = {
        "accuracy_torch": float((torch_wide.argmax(1) == labels).mean()),
        "accuracy_onnx": float((onnx.argmax(1) == labels).mean()),
        "difference_onnx": float(abs(onnx - torch_wide).max()),
        "difference_batch": float(abs(onnx - one).max()),
        "difference_channels": float(abs(torch_narrow - torch_wide).max()),
    }
    if max(found["difference_onnx"], found["difference_batch"], found["difference_channels"]) > 1e-4:
        raise SystemExit(f"the exports disagree: {found}")
    if found["accuracy_torch"] != found["accuracy_onnx"]:
        raise SystemExit(f"the accuracies disagree: {found}")
    return found


def card(accuracy: float, right: int, total: int) -> str:
    """Return the README of the folder, with the accuracy as measured."""
    return f"""---
license: apache-2.0
metrics:
- accuracy
model-index:
- name: digits
  results:
  - task:
      type: image-classification
    dataset:
      name: Optical recognition of handwritten digits (scikit-learn)
      type: digits
    metrics:
    - type: accuracy
      value: {accuracy:.4f}
---

# Handwritten digits, 8x8 pixels

A ViT of 2 layers and 48 channels, trained on the digits that come with scikit-learn.

- Held-out accuracy: {accuracy:.4f} ({right} of {total} images that training never saw; 80/20, stratified, seed {SEED}).
- Input: a white digit on black. Any size is resized to 8x8, colours count by their luma. It has seen nothing but
  centred digits that fill the picture; a photograph of a page is not what it knows.
- `model.safetensors` and `onnx/model.onnx` hold the same weights.
- Data: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998
  (the test part, 1,797 images, as distributed with scikit-learn).
- Made by `examples/digits/train.py`.
"""


def write(folder: Path, samples: Path, epochs: int, batch: int, rate: float) -> dict[str, float]:
    """Train and write everything; return the figures."""
    from PIL import Image

    train, held_out, train_labels, labels = split()
    narrow = fit(train, train_labels, epochs, batch, rate)
    model = widen(narrow)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["ViTForImageClassification"]
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n", encoding="utf-8")
    export_onnx(model, folder / "onnx" / "model.onnx")
    found = check(model, narrow, folder / "onnx" / "model.onnx", held_out, labels)
    right = round(found["accuracy_onnx"] * len(labels))
    (folder / "README.md").write_text(card(found["accuracy_onnx"], right, len(labels)), encoding="utf-8")
    samples.mkdir(parents=True, exist_ok=True)
    for digit in range(10):  # the first of each class in the held-out part, right or wrong
        Image.fromarray(held_out[labels.tolist().index(digit)]).save(samples / f"{digit}.png", optimize=True)
    for name in ("model.safetensors", "onnx/model.onnx"):
        size = (folder / name).stat().st_size
        print(f"{name}: {size} bytes")
        if size > MOST_BYTES:
            raise SystemExit(f"{name} is larger than {MOST_BYTES} bytes")
    return found


def main() -> None:
    """Read the arguments, train, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the model")
    parser.add_argument(
        "--samples", type=Path, required=True, help="folder of ten held-out pictures, one of each digit"
    )
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    start = time.process_time()
    found = write(arguments.output, arguments.samples, arguments.epochs, arguments.batch_size, arguments.learning_rate)
    print(json.dumps(found, indent=2))
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
