"""The official client of OpenAI against a real server."""

import concurrent.futures

import pytest

from tests.conftest import LOOPBACK
from tests.reference import reference

pytestmark = [pytest.mark.serve, pytest.mark.allow_hosts(LOOPBACK)]

HELLO = [{"role": "user", "content": "hello world"}]
CAT = [{"role": "system", "content": "the cat sat"}, {"role": "user", "content": "where is the dog"}]


@pytest.fixture
def client(server):
    from openai import OpenAI

    with OpenAI(base_url=f"{server.address}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
def chats(llama):
    from openai import OpenAI

    with OpenAI(base_url=f"{llama.address}/v1", api_key="any", max_retries=0) as made:
        yield made


def generated(folder, chat, new):
    """Return the text that transformers itself adds to a chat, greedily."""
    code = """
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(arg["folder"])
model = AutoModelForCausalLM.from_pretrained(arg["folder"])
text = tokenizer.apply_chat_template(arg["chat"], add_generation_prompt=True, tokenize=False)
ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
out = model.generate(**ids, max_new_tokens=arg["new"], do_sample=False)
result = [tokenizer.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True), ids["input_ids"].shape[1]]
"""
    return reference(code, {"folder": str(folder), "chat": chat, "new": new})


def test_the_models_are_listed(client, models):
    assert {one.id for one in client.models.list()} == {*models, "digits"}


@pytest.mark.parametrize("chat", [HELLO, CAT])
def test_a_chat_is_answered_as_transformers_does(chats, llama, chat):
    text, read = generated(llama.folder, chat, 12)
    answer = chats.chat.completions.create(model="llama", messages=chat, max_tokens=12, temperature=0)
    assert answer.choices[0].message.content == text
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.prompt_tokens == read
    assert answer.usage.total_tokens == read + answer.usage.completion_tokens


def test_the_two_chats_have_different_answers(llama):
    assert generated(llama.folder, HELLO, 12)[0] != generated(llama.folder, CAT, 12)[0]


def test_a_streamed_chat_is_the_same_in_pieces(chats):
    asked = {"model": "llama", "messages": HELLO, "max_completion_tokens": 12, "temperature": 0}
    whole = chats.chat.completions.create(**asked)
    chunks = list(chats.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_chats_at_the_same_time_share_batches_and_keep_their_answers(chats, llama):
    prompts = [
        f"{word} {other}" for word in ("cat", "dog", "bird", "fish") for other in ("runs", "sleeps", "eats", "sings")
    ]

    def completed(prompt):
        answer = chats.completions.create(model="llama", prompt=prompt, max_tokens=6, temperature=0)
        return answer.choices[0].text

    alone = [completed(prompt) for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(completed, prompts))
    assert together == alone
    assert len(set(alone)) > 4
    page = llama.ask("GET", "/metrics")[2].decode()
    sums = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in page.splitlines()
        if line.startswith("modelscope_ext_batch_size_")
    }
    assert sums['modelscope_ext_batch_size_sum{model="llama"}'] > sums['modelscope_ext_batch_size_count{model="llama"}']


def test_several_prompts_several_answers_and_stops(chats):
    one = chats.completions.create(model="llama", prompt=["hello", "the cat"], max_tokens=8, temperature=0)
    assert [choice.index for choice in one.choices] == [0, 1]
    text = one.choices[0].text
    stop = text[2:4]
    cut = chats.completions.create(model="llama", prompt="hello", max_tokens=8, temperature=0, stop=stop)
    assert cut.choices[0].text == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    pieces = chats.completions.create(
        model="llama", prompt="hello", max_tokens=8, temperature=0, stop=[stop], stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in pieces) == cut.choices[0].text


def test_sampling_follows_the_seed(chats):
    def completed(seed):
        answer = chats.completions.create(model="llama", prompt="hello", max_tokens=12, temperature=1.5, seed=seed)
        return answer.choices[0].text

    assert completed(1) == completed(1)
    assert len({completed(seed) for seed in range(4)}) > 1


def test_n_answers(chats):
    answer = chats.chat.completions.create(model="llama", messages=HELLO, max_tokens=4, n=3, temperature=1.0, seed=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings_are_the_models_vectors(client, models, form):
    import numpy as np

    from tests.tiny import onnx_

    texts = ["the cat", "a big dog sat"]
    given = {} if form is None else {"encoding_format": form}
    answer = client.embeddings.create(model="feature-extraction", input=texts, **given)
    for text, row in zip(texts, answer.data, strict=True):
        vector = row.embedding
        if isinstance(vector, str):
            import base64

            vector = np.frombuffer(base64.b64decode(vector), dtype="<f4")
        ids = onnx_.tokenizer().encode(text).ids
        assert np.allclose(vector, onnx_.expected("feature-extraction", ids).mean(axis=0), atol=1e-6)
    assert not np.allclose(np.asarray(answer.data[0].embedding, dtype=object) == answer.data[1].embedding, True)
    assert answer.usage.prompt_tokens == sum(len(onnx_.tokenizer().encode(text).ids) for text in texts)


def test_a_wrong_request_is_the_clients_own_error(client):
    import openai

    with pytest.raises(openai.NotFoundError, match="no model 'x' here; there are: digits, feature"):
        client.chat.completions.create(model="x", messages=HELLO)
    with pytest.raises(
        openai.BadRequestError, match="is for text-classification and answers no chats; these do: text-generation"
    ):
        client.chat.completions.create(model="text-classification", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="tools is not supported"):
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        client.chat.completions.create(model="text-generation", messages=HELLO, tools=[tool])
    with pytest.raises(openai.BadRequestError, match="no option 'temperature'"):
        client.chat.completions.create(model="text-generation", messages=HELLO, temperature=0.5)
    with pytest.raises(openai.BadRequestError, match="reads text"):
        part = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
        client.chat.completions.create(model="text-generation", messages=[{"role": "user", "content": [part]}])


def test_a_handmade_onnx_model_chats_and_streams_too(client):
    asked = {"model": "text-generation", "messages": HELLO, "max_tokens": 6}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    pieces = [c.choices[0].delta.content or "" for c in client.chat.completions.create(**asked, stream=True)]
    assert whole and "".join(pieces) == whole
