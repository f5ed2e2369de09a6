"""One case for each family of tiny models: inputs, options, and how transformers itself answers them.

The reference script runs in a process that never imports this package. Where transformers has a pipeline, that very
pipeline is asked, from the folder; where it has dropped it, the model's class is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXTS = ["the cat sat on the mat", "the movie was great and very good", "bad dog", "john works at london"]


@dataclass(frozen=True)
class Case:
    """Inputs and options of one task on one tiny family; `seed` is of its random weights."""

    family: str
    task: str
    inputs: list[Any]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    note: str = ""

    @property
    def id(self) -> str:
        return f"{self.family}:{self.task}{self.note}" + ("+" + "+".join(self.options) if self.options else "")


def picture(number: int) -> dict[str, Any]:
    """An image, written as a file when the case is used: structure differs, not only noise."""
    return {"$image": number}


def sound(number: int) -> dict[str, Any]:
    return {"$sound": number}


def video(number: int) -> dict[str, Any]:
    return {"$video": number}


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "the big red house"}, {"role": "user", "content": text}]


def image_chat(number: int, text: str) -> list[dict[str, Any]]:
    pieces = [{"type": "image", "image": picture(number)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": pieces}]


def audio_chat(number: int, text: str) -> list[dict[str, Any]]:
    pieces = [{"type": "audio", "audio": sound(number)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": pieces}]


_WORDS = [["mary", [10, 10, 90, 40]], ["lives", [100, 10, 190, 40]], ["paris", [200, 10, 290, 40]]]
_PICTURES = [picture(0), picture(1), picture(2)]
_SOUNDS = [sound(0), sound(1), sound(2)]
_LONG = [sound(3), sound(4)]
_QUESTIONS = {
    "pet": {
        "type": "choice",
        "instructions": "who sat?",
        "criteria": {"kitten": None, "puppy": "a dog", "eagle": None},
    },
    "good": {"type": "noul", "instructions": "is it good?"},
    "size": {"type": "score", "instructions": "how big?", "criteria": ["small", "big"]},
}
_PAGES = [picture(0), picture(1), picture(2)]
_LABELS = {"candidate_labels": ["a cat", "a dog", "sport"]}
_TABLE = {"city": ["paris", "london", "world"], "how many": ["2", "9", "5"]}

CASES = [
    Case("text-classification", "text-classification", [*TEXTS, {"text": "bad dog", "text_pair": "good cat"}], seed=1),
    Case("text-classification", "text-classification", TEXTS, {"top_k": None}),
    Case("text-classification", "text-classification", TEXTS, {"top_k": 2, "function_to_apply": "none"}),
    Case(
        "text-ranking",
        "text-ranking",
        [{"query": "who is john?", "documents": TEXTS}, {"query": "a cat", "documents": TEXTS}],
    ),
    Case("zero-shot-classification", "zero-shot-classification", TEXTS, _LABELS),
    Case(
        "zero-shot-classification",
        "zero-shot-classification",
        TEXTS,
        {**_LABELS, "multi_label": True, "hypothesis_template": "it is {}"},
    ),
    Case("token-classification", "token-classification", TEXTS),
    Case("token-classification", "token-classification", TEXTS, {"aggregation_strategy": "simple"}),
    Case("fill-mask", "fill-mask", ["the [MASK] sat on the mat", "a big [MASK]"]),
    Case("fill-mask", "fill-mask", ["[MASK] [MASK] sat"], {"top_k": 2}),
    Case("fill-mask", "fill-mask", ["the [MASK] sat", "john [MASK] mary"], {"targets": ["eats", "of"]}),
    Case("feature-extraction", "feature-extraction", TEXTS),
    Case(
        "question-answering",
        "question-answering",
        [
            {"question": "who lives in paris?", "context": "john works at london and mary lives in paris."},
            {"question": "what sat?", "context": "the big red cat sat on the small blue mat"},
        ],
    ),
    Case(
        "question-answering",
        "question-answering",
        [
            {"question": "who lives in paris?", "context": " ".join(TEXTS * 4)},
            {"question": "what sat?", "context": " ".join(TEXTS[::-1] * 5) + " the fish eats the bird"},
        ],
        {"max_seq_len": 32, "doc_stride": 8},
    ),
    Case("text-generation", "text-generation", TEXTS),
    Case("text-generation", "text-generation", TEXTS, {"max_new_tokens": 3, "return_full_text": False}),
    Case("text-generation", "text-generation", [chat("hello"), chat("who are you")], note=":chat"),
    Case("text-generation", "text-generation", TEXTS, {"num_beams": 2, "num_return_sequences": 2}),
    Case("qwen2", "text-generation", [*TEXTS[:2], *TEXTS[:1]]),
    Case("gpt2", "text-generation", TEXTS),
    Case("decision", "decision", [{"state": text, "questions": _QUESTIONS} for text in TEXTS[:2]]),
    Case("jev", "decision", [{"state": text, "questions": _QUESTIONS} for text in TEXTS[:2]]),
    Case("text2text-generation", "text2text-generation", TEXTS, seed=2),
    Case("translation", "translation", TEXTS, seed=2),
    Case("summarization", "summarization", TEXTS, seed=2),
    Case(
        "table-question-answering",
        "table-question-answering",
        [
            {"table": _TABLE, "query": "how many in paris"},
            {"table": {"name": ["mary", "john"]}, "query": "who"},
        ],
        seed=1,
    ),
    Case(
        "document-question-answering",
        "document-question-answering",
        [
            {"image": picture(0), "question": "who lives?", "word_boxes": _WORDS},
            {"image": picture(1), "question": "where?", "word_boxes": _WORDS[1:]},
        ],
    ),
    Case(
        "donut",
        "document-question-answering",
        [{"image": picture(0), "question": "who?"}, {"image": picture(1), "question": "what city?"}],
    ),
    Case("donut", "image-to-text", _PICTURES, seed=1),
    Case("image-classification", "image-classification", _PICTURES, seed=2),
    Case(
        "image-classification", "image-classification", _PICTURES, {"top_k": 2, "function_to_apply": "sigmoid"}, seed=2
    ),
    Case("image-feature-extraction", "image-feature-extraction", _PICTURES),
    Case("image-feature-extraction", "image-feature-extraction", _PICTURES, {"pool": True}),
    Case("image-segmentation", "image-segmentation", _PICTURES, seed=2),
    Case("maskformer", "image-segmentation", _PICTURES, {"subtask": "semantic"}),
    Case("object-detection", "object-detection", _PICTURES, {"threshold": 0.0}),
    Case("yolos", "object-detection", _PICTURES, {"threshold": 0.0}),
    Case("zero-shot-object-detection", "zero-shot-object-detection", _PICTURES, {**_LABELS, "threshold": 0.1}),
    Case("zero-shot-image-classification", "zero-shot-image-classification", _PICTURES, _LABELS, seed=1),
    Case("depth-estimation", "depth-estimation", _PICTURES),
    Case("keypoint-detection", "keypoint-detection", _PICTURES),
    Case(
        "keypoint-matching",
        "keypoint-matching",
        [
            {"image_0": picture(0), "image_1": picture(1)},
            {"image_0": picture(1), "image_1": picture(2)},
        ],
    ),
    Case("video-classification", "video-classification", [video(0), video(1)], seed=5),
    Case(
        "mask-generation",
        "mask-generation",
        _PICTURES[:2],
        {
            "points_per_crop": 4,
            "pred_iou_thresh": -9.0,
            "stability_score_thresh": 0.0,
            "crops_nms_thresh": 0.5,
        },
    ),
    Case("image-to-image", "image-to-image", _PICTURES),
    Case(
        "image-text-to-text",
        "image-text-to-text",
        [{"text": image_chat(0, "what is this")}, {"text": image_chat(1, "who is this")}],
    ),
    Case("image-text-to-text", "any-to-any", [image_chat(0, "what is this"), image_chat(1, "who is this")]),
    Case(
        "image-text-to-text",
        "video-text-to-text",
        [{"video": video(0), "text": "what is this"}, {"video": video(1), "text": "who is this"}],
        {"num_frames": 2},
    ),
    *(
        Case(
            family,
            "visual-document-retrieval",
            [{"query": "who lives in paris?", "documents": _PAGES}, {"query": "the cat", "documents": some}],
        )
        for family, some in (("visual-document-retrieval", _PAGES[1::-1]), ("colqwen2", _PAGES[:2]))
    ),
    Case("audio-text-to-text", "audio-text-to-text", [audio_chat(0, "what is this"), audio_chat(2, "what is this")]),
    Case("image-to-text", "image-to-text", _PICTURES, seed=1),
    Case("blip", "image-to-text", _PICTURES),
    Case(
        "visual-question-answering",
        "visual-question-answering",
        [
            {"image": picture(0), "question": "how many?"},
            {"image": picture(1), "question": "what is red?"},
        ],
        seed=9,
    ),
    Case(
        "blip-vqa",
        "visual-question-answering",
        [
            {"image": picture(0), "question": "how many?"},
            {"image": picture(1), "question": "what is red?"},
        ],
    ),
    Case("audio-classification", "audio-classification", _SOUNDS, seed=1),
    Case("automatic-speech-recognition", "automatic-speech-recognition", _SOUNDS),
    Case("automatic-speech-recognition", "automatic-speech-recognition", _SOUNDS, {"return_timestamps": "char"}),
    Case("whisper", "automatic-speech-recognition", _SOUNDS),
    Case(
        "automatic-speech-recognition",
        "automatic-speech-recognition",
        _LONG,
        {"chunk_length_s": 1, "stride_length_s": [0.2, 0.1], "return_timestamps": "word"},
    ),
    Case("whisper", "automatic-speech-recognition", _SOUNDS, {"return_timestamps": True}),
    Case("whisper", "automatic-speech-recognition", _SOUNDS, {"return_timestamps": "word"}, note=":words"),
    Case("whisper", "automatic-speech-recognition", _LONG, {"return_timestamps": True}, note=":long"),
    Case("whisper", "automatic-speech-recognition", _LONG, {"chunk_length_s": 2, "return_timestamps": True}),
    Case("text-to-audio", "text-to-audio", TEXTS[:2]),
    Case("text-to-audio", "text-to-speech", TEXTS[:2]),
    Case("zero-shot-audio-classification", "zero-shot-audio-classification", _SOUNDS, _LABELS, seed=6),
    Case(
        "multiple-choice",
        "multiple-choice",
        [{"prompt": "who sat?", "choices": TEXTS}, {"prompt": "a", "choices": TEXTS}],
    ),
    Case(
        "time-series-forecasting",
        "time-series-forecasting",
        [[float(i % 7) for i in range(32)], [float(i) for i in range(32)]],
    ),
]


def write_media(folder: Path) -> None:
    """Write the pictures, sounds and videos of the cases as files that both processes read."""
    import numpy as np
    from PIL import Image

    for number, (width, height) in enumerate(((48, 40), (40, 40), (64, 32))):
        y, x = np.mgrid[0:height, 0:width]
        bands = [x * 255 // width, y * 255 // height, ((x + y) * (number + 1) * 9) % 256]
        pixels = np.stack(np.roll(bands, number, axis=0), -1).astype(np.uint8)
        Image.fromarray(255 - pixels if number == 1 else pixels).save(folder / f"image{number}.png")
        time = np.arange(6000 + 1000 * number)
        np.save(folder / f"sound{number}.npy", (np.sin(time / (3 + 9 * number)) * 0.5).astype(np.float32))
        time = np.arange(50000 + 9000 * number)  # longer than any tiny model hears at once
        wave = np.sin(time / (3 + 9 * number + time / 20000)) * 0.5
        np.save(folder / f"sound{number + 3}.npy", wave.astype(np.float32))
        frames = np.stack([np.roll(255 - pixels if number else pixels, 4 * i, axis=0) for i in range(6)])
        np.save(folder / f"video{number}.npy", frames)


def opened(value: Any, folder: Path) -> Any:
    """Return `value` with its media as PIL images and arrays."""
    import numpy as np
    from PIL import Image

    if isinstance(value, dict) and "$image" in value:
        with Image.open(folder / f"image{value['$image']}.png") as image:
            return image.convert("RGB")
    for kind in ("sound", "video"):
        if isinstance(value, dict) and f"${kind}" in value:
            return np.load(folder / f"{kind}{value[f'${kind}']}.npy")
    if isinstance(value, dict):
        return {k: opened(v, folder) for k, v in value.items()}
    return [opened(v, folder) for v in value] if isinstance(value, list) else value


def flat(value: Any) -> Any:
    """Return an output as JSON types: images and arrays as lists of numbers."""
    if type(value).__module__.startswith("PIL"):
        import numpy as np

        return np.asarray(value).astype(int).tolist()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {k: flat(v) for k, v in value.items()}
    return [flat(v) for v in value] if isinstance(value, list | tuple) else value


#: Answers every case; `arg` is a list of {task, folder, media, inputs, options}.
REFERENCE = r'''
import traceback
import numpy as np, torch, transformers
from PIL import Image
from transformers.utils import logging
logging.set_verbosity_error(); logging.disable_progress_bar()
T = transformers

def media(value, folder):
    if isinstance(value, dict):
        if "$image" in value: return Image.open(f"{folder}/image{value['$image']}.png").convert("RGB")
        for kind in ("sound", "video"):
            if "$" + kind in value: return np.load(f"{folder}/{kind}{value['$' + kind]}.npy")
        return {k: media(v, folder) for k, v in value.items()}
    return [media(v, folder) for v in value] if isinstance(value, list) else value

def flat(value):
    if isinstance(value, Image.Image): return np.asarray(value).astype(int).tolist()
    if hasattr(value, "tolist"): return value.tolist()
    if isinstance(value, dict): return {k: flat(v) for k, v in value.items()}
    return [flat(v) for v in value] if isinstance(value, (list, tuple)) else value

def pipe(task, folder):
    return T.pipeline(task, model=folder, device="cpu")

def first(task):
    def run(folder, x, o):
        native = pipe(task, folder)(x, **o)
        return native[0]
    return run

def whole(task):
    return lambda folder, x, o: pipe(task, folder)(x, **o)

def text_classification(folder, x, o):
    native = pipe("text-classification", folder)(x, **o)
    return native if "top_k" in o or isinstance(native, dict) else native[0]

def generation(folder, x, o):
    native = pipe("text-generation", folder)(x, do_sample=False, **o)
    return native if o.get("num_return_sequences") else native[0]

def ranking(folder, x, o):
    model, tok = T.AutoModelForSequenceClassification.from_pretrained(folder), T.AutoTokenizer.from_pretrained(folder)
    pairs = [tok(x["query"], d, return_tensors="pt") for d in x["documents"]]
    scores = [torch.sigmoid(model(**pair).logits[0, 0]).item() for pair in pairs]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"index": i, "score": scores[i], "document": x["documents"][i]} for i in order]

def choice(folder, x, o):
    model, tok = T.AutoModelForMultipleChoice.from_pretrained(folder), T.AutoTokenizer.from_pretrained(folder)
    logits = []
    for c in x["choices"]:
        enc = tok(x["prompt"], c, return_tensors="pt")
        logits.append(model(**{k: v.unsqueeze(0) for k, v in enc.items()}).logits.item())
    scores = torch.tensor(logits).softmax(0).tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"index": i, "score": scores[i], "choice": x["choices"][i]} for i in order]

def answer(folder, x, o):
    """The best span by brute force over all pairs of context tokens of all windows, widened to words."""
    model, tok = T.AutoModelForQuestionAnswering.from_pretrained(folder), T.AutoTokenizer.from_pretrained(folder)
    enc = tok(x["question"], x["context"], return_tensors="pt", truncation="only_second", padding=True,
              max_length=o.get("max_seq_len", 64), stride=o.get("doc_stride", 32), return_overflowing_tokens=True)
    found = []
    for w in range(len(enc["input_ids"])):
        out = model(**{k: enc[k][w : w + 1] for k in ("input_ids", "token_type_ids", "attention_mask")})
        takes = [i for i, k in enumerate(enc.sequence_ids(w)) if k == 1]
        weigh = [0, *takes]
        starts = dict(zip(weigh, out.start_logits[0, weigh].softmax(0).tolist()))
        ends = dict(zip(weigh, out.end_logits[0, weigh].softmax(0).tolist()))
        found += [(starts[i] * ends[j], -w, -i, -j) for i in takes for j in takes if i <= j < i + 15]
    score, w, i, j = max(found)
    a = enc.word_to_chars(-w, enc.token_to_word(-w, -i), 1).start
    b = enc.word_to_chars(-w, enc.token_to_word(-w, -j), 1).end
    return {"score": score, "start": a, "end": b, "answer": x["context"][a:b]}

def seq2seq(key):
    def run(folder, x, o):
        model, tok = T.AutoModelForSeq2SeqLM.from_pretrained(folder), T.AutoTokenizer.from_pretrained(folder)
        params = (getattr(model.config, "task_specific_params", None) or {}).get(key[1], {})
        enc = tok(params.get("prefix", "") + x, return_tensors="pt")
        enc.pop("token_type_ids", None)
        return {key[0]: tok.decode(model.generate(**enc, do_sample=False)[0], skip_special_tokens=True)}
    return run

def table(folder, x, o):
    import pandas
    return pipe("table-question-answering", folder)(table=pandas.DataFrame(x["table"]), query=x["query"])

def document(folder, x, o):
    native = pipe("document-question-answering", folder)(**x)
    return native if isinstance(native, list) else [native]

def features(folder, x, o):
    return pipe("feature-extraction", folder)(x)[0]

def image_features(folder, x, o):
    return pipe("image-feature-extraction", folder)(x, **o)[0]

def caption(folder, x, o):
    model = T.AutoModelForImageTextToText.from_pretrained(folder)
    tok, images = T.AutoTokenizer.from_pretrained(folder), T.AutoImageProcessor.from_pretrained(folder)
    tokens = model.generate(pixel_values=images(x, return_tensors="pt")["pixel_values"], do_sample=False)
    return {"generated_text": tok.decode(tokens[0], skip_special_tokens=True).strip()}

def image_answer(folder, x, o):
    model, proc = T.AutoModelForVisualQuestionAnswering.from_pretrained(folder), T.AutoProcessor.from_pretrained(folder)
    enc = proc(x["image"], x["question"], return_tensors="pt")
    if "Blip" in type(model).__name__:
        return [{"answer": proc.decode(model.generate(**enc)[0], skip_special_tokens=True).strip()}]
    scores = torch.sigmoid(model(**enc).logits[0]).tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:5]
    return [{"answer": model.config.id2label[i], "score": scores[i]} for i in order]

def talk(folder, x, o):
    native = pipe("image-text-to-text", folder)(text=x["text"], generate_kwargs={"do_sample": False})
    return {"generated_text": native[0]["generated_text"]}

def any_to_any(folder, x, o):
    model, proc = T.AutoModelForMultimodalLM.from_pretrained(folder), T.AutoProcessor.from_pretrained(folder)
    enc = proc.apply_chat_template(x, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
    new = model.generate(**enc, do_sample=False)[0, enc["input_ids"].shape[1]:]
    text = proc.decode(new, skip_special_tokens=True)
    return {"generated_text": [*x, {"role": "assistant", "content": text}]}

def points(folder, x, o):
    model, proc = T.AutoModelForKeypointDetection.from_pretrained(folder), T.AutoImageProcessor.from_pretrained(folder)
    out = proc.post_process_keypoint_detection(model(**proc(x, return_tensors="pt")), [(x.height, x.width)])[0]
    found = zip(out["keypoints"].tolist(), out["scores"].tolist())
    return [{"keypoint": {"x": p[0], "y": p[1]}, "score": s} for p, s in sorted(found, key=lambda f: -f[1])]

def match(folder, x, o):
    return [dict(m) for m in pipe("keypoint-matching", folder)([x["image_0"], x["image_1"]])]

def clip(folder, x, o):
    model = T.AutoModelForVideoClassification.from_pretrained(folder)
    proc = T.AutoImageProcessor.from_pretrained(folder)
    scores = model(**proc(list(x[:4]), return_tensors="pt")).logits[0].softmax(0).tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"label": model.config.id2label[i], "score": scores[i]} for i in order]

def larger(folder, x, o):
    model, proc = T.AutoModelForImageToImage.from_pretrained(folder), T.AutoImageProcessor.from_pretrained(folder)
    out = model(**proc(x, return_tensors="pt")).reconstruction[0].clamp(0, 1).numpy()
    return np.rint(out * 255).astype(int).transpose(1, 2, 0)[: 2 * x.height, : 2 * x.width].tolist()

def masks(folder, x, o):
    """The pipeline with a plain double loop in place of torchvision's suppression."""
    p = pipe("mask-generation", folder)
    def join(masks, scores, boxes, most):
        kept = []
        for i in sorted(range(len(scores)), key=lambda i: -scores[i].item()):
            a = boxes[i].tolist()
            for j in kept:
                b = boxes[j].tolist()
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                both = max(w, 0) * max(h, 0)
                either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
                if either and both / either > most: break
            else: kept.append(i)
        out = []
        for i in kept:
            height, width = masks[i]["size"]
            bits, on = [], False
            for run in masks[i]["counts"]: bits += [on] * run; on = not on
            out.append(np.array(bits).reshape(width, height).T)
        return out, scores[kept], None, None
    p.image_processor.post_process_for_mask_generation = join
    native = p(x, **o)
    return {"masks": native["masks"], "scores": native["scores"]}

def speech(folder, x, o):
    return pipe("automatic-speech-recognition", folder)(x, **o)

def speak(folder, x, o):
    native = pipe("text-to-audio", folder)(x)
    return {"audio": np.squeeze(native["audio"]), "sampling_rate": native["sampling_rate"]}

def decide(folder, x, o):
    from transformers.pipelines import DecisionPipeline
    auto = T.AutoModelForDecision if "jev" in folder else T.AutoModelForCausalLM
    return DecisionPipeline(model=auto.from_pretrained(folder), tokenizer=T.AutoTokenizer.from_pretrained(folder))(x)

def pages(folder, x, o):
    cls = T.ColQwen2ForRetrieval if "colqwen2" in folder else T.ColPaliForRetrieval
    model, proc = cls.from_pretrained(folder), T.AutoProcessor.from_pretrained(folder)
    query = model(**proc.process_queries(text=[x["query"]], return_tensors="pt")).embeddings
    scores = []
    for page in x["documents"]:
        enc = proc.process_images(images=[page], return_tensors="pt")
        enc.pop("labels", None)
        scores.append(proc.score_retrieval(query, model(**enc).embeddings)[0, 0].item())
    return [{"index": i, "score": scores[i]} for i in sorted(range(len(scores)), key=lambda i: -scores[i])]

def watch(folder, x, o):
    pieces = [{"type": "image", "image": Image.fromarray(frame)} for frame in x["video"][: o["num_frames"]]]
    chat = [{"role": "user", "content": [*pieces, {"type": "text", "text": x["text"]}]}]
    return {"generated_text": any_to_any(folder, chat, o)["generated_text"][-1]["content"]}

def series(folder, x, o):
    model = T.AutoModelForTimeSeriesPrediction.from_pretrained(folder)
    return model(past_values=[torch.tensor(x)], freq=[0]).mean_predictions[0]

RUN = {
    "text-classification": text_classification, "text-generation": generation, "text-ranking": ranking,
    "multiple-choice": choice, "question-answering": answer, "feature-extraction": features,
    "text2text-generation": seq2seq(("generated_text", "")),
    "translation": seq2seq(("translation_text", "translation")),
    "summarization": seq2seq(("summary_text", "summarization")), "table-question-answering": table,
    "document-question-answering": document, "image-feature-extraction": image_features, "image-to-text": caption,
    "visual-question-answering": image_answer, "image-text-to-text": talk, "any-to-any": any_to_any,
    "audio-text-to-text": any_to_any, "video-text-to-text": watch, "decision": decide,
    "visual-document-retrieval": pages,
    "keypoint-detection": points, "keypoint-matching": match, "video-classification": clip, "image-to-image": larger,
    "mask-generation": masks, "automatic-speech-recognition": speech, "text-to-audio": speak, "text-to-speech": speak,
    "time-series-forecasting": series,
}
result = {}
with torch.inference_mode():
    for case in arg:
        run = RUN.get(case["task"]) or whole(case["task"])
        try:
            result[case["id"]] = [
                flat(run(case["folder"], media(x, case["media"]), dict(case["options"]))) for x in case["inputs"]
            ]
        except Exception:
            result[case["id"]] = traceback.format_exc()
'''
