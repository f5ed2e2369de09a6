"""What the ONNX backend hears: waveforms and spectrograms as transformers makes them, labels, and text by CTC."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelscope_ext.errors import BackendNotLoadable, LimitExceeded, MalformedMetadata, NotAModel, OptionError
from modelscope_ext.models.backends._onnx.sounds import EXTRACTORS, Extractor
from tests.equality import assert_close
from tests.models.backends.onnx_cases import edit, predict


def sound(number, rate=8000, seconds=0.6):
    time = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(number).standard_normal(len(time)) * 0.1
    return (0.5 * np.sin(2 * np.pi * (150 + 140 * number) * time) + noise).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    from tests.tiny import onnx_sounds

    return lambda task, **settings: onnx_sounds.write(task, tmp_path / task, **settings)


SPEECH = "automatic-speech-recognition"


def heard(samples):
    """The best letter of each row, by hand."""
    from tests.tiny import onnx_sounds

    rows = samples[: len(samples) // onnx_sounds.STEP * onnx_sounds.STEP].reshape(-1, onnx_sounds.STEP)
    best = (rows @ onnx_sounds.kernels(len(onnx_sounds.LETTERS))[:, 0].T).argmax(axis=1)
    return [onnx_sounds.LETTERS[i] for i in best]


def written(letters):
    """CTC by hand: repeats are one, blanks are none."""
    out = [(letter, i) for i, letter in enumerate(letters) if i == 0 or letters[i - 1] != letter]
    return "".join(" " if letter == "|" else letter for letter, _ in out if letter != "<pad>")


def test_speech_is_the_best_letter_of_every_row(folder):
    place = folder(SPEECH)
    sounds = [sound(0), sound(1), sound(2, seconds=0.9)]
    found = predict(place, SPEECH, [{"raw": s, "sampling_rate": 8000} for s in sounds])
    assert [one["text"] for one in found] == [written(heard(s)).strip() for s in sounds]
    assert len({one["text"] for one in found}) == 3


def test_when_letters_and_words_are_said(folder):
    place = folder(SPEECH)
    item = {"raw": sound(1), "sampling_rate": 8000}
    [plain] = predict(place, SPEECH, [item])
    [letters] = predict(place, SPEECH, [item], return_timestamps="char")
    [words] = predict(place, SPEECH, [item], return_timestamps="word")
    assert "".join(chunk["text"] for chunk in letters["chunks"]).strip() == plain["text"]
    assert [chunk["text"] for chunk in words["chunks"]] == plain["text"].split()
    for chunks in (letters["chunks"], words["chunks"]):
        times = [time for chunk in chunks for time in chunk["timestamp"]]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= 0.6
    with pytest.raises(OptionError, match="a CTC model can give 'char' or 'word'"):
        predict(place, SPEECH, [item], return_timestamps=True)


@pytest.mark.parametrize("stride", [None, 0.05, [0.1, 0.02], [0, 0.1]])
def test_a_long_recording_in_pieces_says_the_same(folder, stride):
    place = folder(SPEECH)
    item = {"raw": sound(2, seconds=2.3), "sampling_rate": 8000}
    whole = predict(place, SPEECH, [item], return_timestamps="char")
    options = {"chunk_length_s": 0.5, "return_timestamps": "char", "stride_length_s": stride}
    assert_close(predict(place, SPEECH, [item], **options), whole)
    assert_close(predict(place, SPEECH, [item], batch_size=2, **options), whole)
    with pytest.raises(OptionError, match=r"chunk_length_s=0\.2 is not more than the two overlaps"):
        predict(place, SPEECH, [item], chunk_length_s=0.2, stride_length_s=0.1)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"do_lower_case": True}, lambda text: text.lower()),
        ({"word_delimiter_token": "a"}, lambda text: " ".join(text.replace("a", " ").split(" "))),
        ({"replace_word_delimiter_char": "_"}, lambda text: text.replace(" ", "_")),
        ({"pad_token": {"content": "b"}}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_roles_of_letters_are_read(folder, settings, change):
    place = folder(SPEECH)
    item = {"raw": sound(1), "sampling_rate": 8000}
    before = predict(place, SPEECH, [item])[0]["text"]
    edit(place, "tokenizer_config.json", **settings)
    after = predict(place, SPEECH, [item])[0]["text"]
    if change is None:
        assert "b" in before and "b" not in after and "<pad>" in after
    elif "word_delimiter_token" in settings:
        assert after == before.replace(" ", "|").replace("a", " ").strip()
    else:
        assert after == change(before)


def test_a_vocabulary_of_several_languages(folder):
    place = folder(SPEECH)
    item = {"raw": sound(1), "sampling_rate": 8000}
    expected = predict(place, SPEECH, [item])
    vocabulary = json.loads((place / "vocab.json").read_text())
    (place / "vocab.json").write_text(json.dumps({"eng": vocabulary, "fra": {}}))
    edit(place, "tokenizer_config.json", target_lang="eng")
    assert predict(place, SPEECH, [item]) == expected
    edit(place, "tokenizer_config.json", target_lang="deu")
    with pytest.raises(MalformedMetadata, match=r"target_lang is deu, and vocab\.json has"):
        predict(place, SPEECH, [item])


def test_what_is_missing_or_foreign_is_named(folder):
    place = folder(SPEECH)
    item = {"raw": sound(1), "sampling_rate": 8000}
    (place / "vocab.json").write_text('{"a": "b"}')
    with pytest.raises(MalformedMetadata, match=r"vocab\.json should be an object of tokens and whole numbers"):
        predict(place, SPEECH, [item])
    (place / "vocab.json").unlink()
    with pytest.raises(NotAModel, match=r"no vocab\.json.*Whisper"):
        predict(place, SPEECH, [item])
    edit(place, "tokenizer_config.json", tokenizer_class="Wav2Vec2PhonemeCTCTokenizer")
    with pytest.raises(BackendNotLoadable, match="tokenizer_class is Wav2Vec2PhonemeCTCTokenizer"):
        predict(place, SPEECH, [item])
    edit(place, "preprocessor_config.json", feature_extractor_type="ClapFeatureExtractor")
    with pytest.raises(BackendNotLoadable, match="feature_extractor_type is ClapFeatureExtractor"):
        predict(place, "audio-classification", [item])
    (place / "preprocessor_config.json").unlink()
    with pytest.raises(NotAModel, match="how sounds are prepared"):
        predict(place, "audio-classification", [item])


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"sampling_rate": "fast"}, MalformedMetadata),
        ({"sampling_rate": True}, MalformedMetadata),
        ({"do_normalize": 1}, MalformedMetadata),
        ({"sampling_rate": 0}, LimitExceeded),
        ({"sampling_rate": 2**40}, LimitExceeded),
    ],
)
def test_settings_of_the_wrong_kind(settings, error):
    with pytest.raises(error, match=next(iter(settings))):
        Extractor.of({"feature_extractor_type": "Wav2Vec2FeatureExtractor", **settings})


def test_a_chunk_of_a_year_is_refused():
    extractor = Extractor.of({"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 2**25})
    with pytest.raises(LimitExceeded, match="chunk_length asks for"):
        extractor.prepared(sound(0))


def test_labels_of_recordings_and_their_batches(folder):
    place = folder("audio-classification", do_normalize=True)
    sounds = [{"raw": sound(n, seconds=s), "sampling_rate": 8000} for n, s in ((0, 0.5), (1, 0.7), (2, 0.5), (3, 0.7))]
    alone = [predict(place, "audio-classification", [item])[0] for item in sounds]
    assert len({labels[0]["label"] for labels in alone}) > 1
    assert_close(predict(place, "audio-classification", sounds, batch_size=4), alone)
    assert_close(predict(place, "audio-classification", sounds[::-1]), alone[::-1])
    assert [len(one) for one in predict(place, "audio-classification", sounds, top_k=2)] == [2] * 4
    with pytest.raises(OptionError, match=r"got shape \(0,\)"):
        predict(place, "audio-classification", [{"raw": np.zeros(0, np.float32), "sampling_rate": 8000}])


FEATURES = """
import numpy as np, transformers
result = {}
for name, settings, key in arg["cases"]:
    extractor = getattr(transformers, name)(**settings)
    sounds = [np.asarray(s, dtype=np.float32) for s in arg["sounds"]]
    result[name + repr(sorted(settings))] = [
        extractor(s, sampling_rate=extractor.sampling_rate, return_tensors="np")[key][0] for s in sounds
    ]
"""

CASES = [
    ("Wav2Vec2FeatureExtractor", {}, "input_values"),
    ("Wav2Vec2FeatureExtractor", {"do_normalize": False}, "input_values"),
    ("ASTFeatureExtractor", {"max_length": 40, "num_mel_bins": 32}, "input_values"),
    ("ASTFeatureExtractor", {"max_length": 90, "num_mel_bins": 16, "do_normalize": False}, "input_values"),
    ("WhisperFeatureExtractor", {"chunk_length": 1, "feature_size": 20}, "input_features"),
    ("WhisperFeatureExtractor", {"chunk_length": 2, "feature_size": 16, "hop_length": 200}, "input_features"),
]


@pytest.mark.pt
def test_what_is_heard_is_what_transformers_hears():
    from tests.reference import reference

    sounds = [sound(n, 16000, s) for n, s in ((0, 0.5), (1, 1.3), (2, 0.02))]
    expected = reference(FEATURES, {"cases": CASES, "sounds": [s.tolist() for s in sounds]})
    for name, settings, _ in CASES:
        extractor = Extractor.of({"feature_extractor_type": name, **settings})
        for samples, theirs in zip(sounds, expected[name + repr(sorted(settings))], strict=True):
            ours = extractor.prepared(samples)
            assert ours.shape == np.shape(theirs)
            assert np.abs(ours - np.asarray(theirs)).max() < 1e-4, (name, settings, len(samples))
    assert {name for name, _, _ in CASES} == set(EXTRACTORS)
