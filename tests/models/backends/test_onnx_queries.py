"""Boxes and masks out of a graph's numbers, read as the image processor that the folder names reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelscope_ext.errors import BackendNotLoadable, OptionError
from tests.equality import assert_close, assert_equal
from tests.models.backends.onnx_cases import edit, predict
from tests.models.backends.transformers_cases import flat, write_media

#: Image processor -> the outputs of its models; whether a label for "nothing" stands behind the others.
DETECTORS = {
    "DetrImageProcessor": True,
    "YolosImageProcessor": True,
    "ConditionalDetrImageProcessor": False,
    "DeformableDetrImageProcessor": False,
    "RTDetrImageProcessor": False,
}
SEGMENTERS = {
    "DetrImageProcessor": {"logits": "labels", "pred_masks": "masks"},
    "MaskFormerImageProcessor": {"class_queries_logits": "labels", "masks_queries_logits": "masks"},
    "Mask2FormerImageProcessor": {"class_queries_logits": "labels", "masks_queries_logits": "masks"},
}

READ = """
import json
import numpy as np, onnxruntime, torch, transformers
from PIL import Image
from transformers.utils import logging
logging.set_verbosity_error()
folder = arg["folder"]
processor = getattr(transformers, arg["processor"] + "Pil").from_pretrained(folder)
names = json.load(open(folder + "/config.json"))["id2label"]
session = onnxruntime.InferenceSession(folder + "/model.onnx")

class Found(dict):
    __getattr__ = dict.__getitem__

result = []
for path in arg["paths"]:
    image = Image.open(path).convert("RGB")
    pixels = processor(images=[image], return_tensors="np")["pixel_values"]
    outputs = [o.name for o in session.get_outputs()]
    values = session.run(None, {"pixel_values": pixels})
    found = Found({n: torch.from_numpy(v) for n, v in zip(outputs, values)})
    options = {**arg["options"], "target_sizes": [(image.height, image.width)]}
    read = getattr(processor, "post_process_" + arg["how"])
    if arg["how"] == "object_detection":
        best = read(found, **options)[0]
        rows = zip(best["scores"].tolist(), best["labels"].tolist(), best["boxes"].int().tolist())
        keys = ("xmin", "ymin", "xmax", "ymax")
        rows = [{"score": s, "label": names[str(l)], "box": dict(zip(keys, b))} for s, l, b in rows]
        result.append(sorted(rows, key=lambda row: -row["score"]))
    elif arg["how"] == "semantic_segmentation":
        labels = read(found, target_sizes=options["target_sizes"])[0].numpy()
        result.append([
            {"score": None, "label": names[str(l)], "mask": ((labels == l) * 255).tolist()} for l in np.unique(labels)
        ])
    else:
        best = read(found, **options)[0]
        result.append([
            {
                "score": part["score"],
                "label": names[str(part["label_id"])],
                "mask": ((best["segmentation"] == part["id"]).int() * 255).tolist(),
            }
            for part in best["segments_info"]
        ])
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return [str(folder / f"image{number}.png") for number in range(3)]


def made(folder, processor, outputs, **options):
    from tests.tiny import onnx_queries

    return onnx_queries.write(folder, processor, outputs, **options)


def native(folder, processor, how, paths, **options):
    from tests.reference import reference

    arg = {"folder": str(folder), "processor": processor, "how": how, "paths": paths, "options": options}
    return reference(READ, arg)


@pytest.mark.pt
@pytest.mark.parametrize("threshold", [0.0, 0.4])
@pytest.mark.parametrize("processor", DETECTORS)
def test_boxes_are_those_of_transformers(tmp_path, paths, processor, threshold):
    folder = made(tmp_path / "m", processor, {"logits": "labels", "pred_boxes": "boxes"}, nothing=DETECTORS[processor])
    found = predict(folder, "object-detection", paths, threshold=threshold)
    assert_equal(found, native(folder, processor, "object_detection", paths, threshold=threshold))
    assert min(len(rows) for rows in found) >= 3


@pytest.mark.pt
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("subtask", ["panoptic", "instance", "semantic"])
@pytest.mark.parametrize("processor", SEGMENTERS)
def test_masks_are_those_of_transformers(tmp_path, paths, processor, subtask, seed):
    # transformers takes the best pairs of query and label in any order where there are few labels; in theirs from 64 on
    folder = made(
        tmp_path / "m", processor, SEGMENTERS[processor], seed=seed, labels=80 if subtask == "instance" else 5
    )
    limits = {
        "threshold": 0.05 if subtask == "instance" else 0.3,
        "mask_threshold": 0.4,
        "overlap_mask_area_threshold": 0.1,
    }
    found = predict(folder, "image-segmentation", paths, subtask=subtask, **limits)
    expected = native(folder, processor, f"{subtask}_segmentation", paths, **limits)
    assert_equal([flat(parts) for parts in found], expected)
    assert min(len(parts) for parts in found) > 1
    assert flat(found[0]) != flat(found[1]) != flat(found[2])


def test_overlaps_and_faint_parts_are_dropped(tmp_path, paths):
    """Without torch: what a query keeps of its own mask decides, and the parts never overlap."""
    import numpy as np

    folder = made(tmp_path / "m", "DetrImageProcessor", SEGMENTERS["DetrImageProcessor"])
    every = predict(folder, "image-segmentation", paths, threshold=0.0, overlap_mask_area_threshold=0.0)
    none = predict(folder, "image-segmentation", paths, threshold=0.0, overlap_mask_area_threshold=9.0)
    surest = predict(folder, "image-segmentation", paths, threshold=0.8, overlap_mask_area_threshold=0.0)
    for all_parts, sure_parts in zip(every, surest, strict=True):
        covered = sum((np.asarray(part["mask"]) > 0).astype(int) for part in all_parts)
        assert covered.max() == 1
        assert {part["score"] for part in sure_parts} == {p["score"] for p in all_parts if p["score"] > 0.8}
        assert len(sure_parts) < len(all_parts)
    assert none == [[], [], []]
    assert predict(folder, "image-segmentation", paths[:1], threshold=1.0) == [[]]


def test_a_batch_of_pictures_gives_what_each_gives(tmp_path, paths):
    folder = made(tmp_path / "m", "DetrImageProcessor", {"logits": "labels", "pred_boxes": "boxes"})
    edit(folder, "preprocessor_config.json", size={"shortest_edge": 24, "longest_edge": 40})
    alone = [predict(folder, "object-detection", [path], threshold=0.0)[0] for path in paths]
    assert_close(predict(folder, "object-detection", paths, threshold=0.0, batch_size=3), alone)
    assert_close(predict(folder, "object-detection", paths, threshold=0.0), alone)


def test_what_a_model_cannot_do_is_said(tmp_path, paths):
    folder = made(tmp_path / "m", "DetrImageProcessor", {"logits": "labels", "pred_boxes": "boxes"})
    with pytest.raises(OptionError, match="no output pred_masks"):
        predict(folder, "image-segmentation", paths)
    with pytest.raises(OptionError, match="subtask='parts': this model can do instance, panoptic, semantic"):
        predict(folder, "image-segmentation", paths, subtask="parts")
    edit(folder, "preprocessor_config.json", image_processor_type="ViTImageProcessor")
    with pytest.raises(BackendNotLoadable, match="nothing says how the boxes of ViTImageProcessor are read"):
        predict(folder, "object-detection", paths)
    with pytest.raises(BackendNotLoadable, match="nothing says how the masks of ViTImageProcessor are read"):
        predict(folder, "image-segmentation", paths)
    Path(folder, "preprocessor_config.json").unlink()
    from modelscope_ext.errors import NotAModel

    with pytest.raises(NotAModel, match=r"no preprocessor_config\.json .*how pictures are prepared"):
        predict(folder, "object-detection", paths)
