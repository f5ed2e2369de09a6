"""`run --save`: images and sounds of answers as files."""

import io
import json
import wave
from pathlib import Path

import pytest

from modelscope_ext.cli.answers import as_json, as_text
from modelscope_ext.cli.output import Output
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import OptionError
from modelscope_ext.models.encode import wav
from modelscope_ext.pipelines.saving import Saver


def picture(colour="red"):
    from PIL import Image

    return Image.new("RGB", (4, 2), colour)


def test_images_and_sounds_become_files_wherever_they_stand(tmp_path):
    import numpy as np
    from PIL import Image

    answer = [
        {"label": "sky", "score": 0.5, "mask": picture("blue")},
        {"audio": np.array([0.0, 1.0, -2.0], "float32"), "sampling_rate": 8000},
        picture(),
        {"masks": [np.array([[True, False]])], "scores": [0.5]},
    ]
    taken = Saver(str(tmp_path / "new")).take(answer)
    names = ["0001.png", "0002.wav", "0003.png", "0004.png"]
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == names
    assert taken[0] == {"label": "sky", "score": 0.5, "mask": str(tmp_path / "new" / "0001.png")}
    assert json.loads(json.dumps(as_json(taken))) == taken
    with Image.open(taken[2]) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    with Image.open(taken[3]["masks"][0]) as mask:
        assert np.asarray(mask).tolist() == [[True, False]]
    with wave.open(taken[1]["audio"]) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (8000, 1, 3)
        assert np.frombuffer(sound.readframes(3), "<i2").tolist() == [0, 32767, -32767]


def test_channels_are_kept():
    import numpy as np

    with wave.open(io.BytesIO(wav(np.zeros((2, 5), "float32"), 16000))) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (2, 5)


def test_files_that_are_there_are_never_replaced(tmp_path):
    (tmp_path / "0001.png").write_text("mine")
    assert Saver(str(tmp_path)).take(picture()) == str(tmp_path / "0002.png")
    assert (tmp_path / "0001.png").read_text() == "mine"


def test_a_file_of_that_name_is_refused_before_the_model_is_loaded(cli, tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = cli("run", digits_folder(), digits_samples()[0], "--save", tmp_path / "taken")
    assert done.code == 2 and "taken: a file of that name is there; expected a folder" in done.err
    assert (tmp_path / "taken").read_text() == "mine"


def test_an_image_without_save_says_how_to_get_it():
    assert as_text(picture()) == "RGB image of 4 x 2 pixels (--save DIR writes it)"
    with pytest.raises(OptionError, match="the answer holds an image, which has no form in JSON: --save DIR writes it"):
        as_json({"depth": picture()})


def test_what_is_no_number_is_null_in_json():
    import numpy as np

    answer = {"score": float("nan"), "vector": np.array([1.0, np.inf], "float32"), "deep": [{"x": -float("inf")}]}
    assert as_json(answer) == {"score": None, "vector": [1.0, None], "deep": [{"x": None}]}
    stream = io.StringIO()
    Output(json=True, stdout=stream).record({"learning_rate": float("nan"), "n": [float("inf"), 1.5]})
    assert json.loads(stream.getvalue(), parse_constant=pytest.fail) == {"learning_rate": None, "n": [None, 1.5]}


@pytest.mark.pt
def test_run_saves_images_and_prints_their_names(cli, tmp_path, tiny_root):
    from tests.tiny.transformers_ import build

    folder = build("image-to-image", tiny_root / "image-to-image")
    done = cli("run", folder, digits_samples()[0], "--save", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == str(tmp_path / "out" / "0001.png")
    assert (tmp_path / "out" / "0001.png").read_bytes().startswith(b"\x89PNG")
    plain = cli("run", folder, digits_samples()[0])
    assert plain.code == 0 and "image of" in plain.out and "--save DIR" in plain.out


def test_frames_become_an_animated_picture(tmp_path):
    from PIL import Image, ImageSequence

    frames = [Image.new("RGB", (4, 3), color) for color in ((255, 0, 0), (0, 128, 3), (9, 9, 255))]
    saver = Saver(str(tmp_path / "out"))
    answer, plain = saver.take({"frames": frames, "fps": 4}), saver.take({"frames": frames[:1]})
    assert (answer["fps"], Path(answer["frames"]).name, Path(plain["frames"]).name) == (4, "0001.png", "0002.png")
    with Image.open(answer["frames"]) as image:
        assert image.n_frames == 3
        assert image.info["duration"] == 250
        read = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(image)]
    assert read == [frame.tobytes() for frame in frames]


def test_several_videos_are_several_files(tmp_path):
    from PIL import Image

    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    saved = Saver(str(tmp_path)).take([{"frames": frames}, {"frames": frames[::-1]}])
    assert [Path(one["frames"]).name for one in saved] == ["0001.png", "0002.png"]
