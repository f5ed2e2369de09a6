"""The page itself: what the task takes on the left, what it gives beside it, and why the model was taken for that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelscope_ext.models.explain import explain
from modelscope_ext.serve.intake import options_of, refuse_unserved, sealed
from modelscope_ext.serve.log import said
from modelscope_ext.serve.refusal import Refused, refusal_of
from modelscope_ext.serve.settings import Settings
from modelscope_ext.web.forms import BUTTONS, FORMS, Form, fields_of, item_of
from modelscope_ext.web.shows import Show, show_of
from modelscope_ext.web.words import WORDS, translated

if TYPE_CHECKING:
    from modelscope_ext.pipelines.base import Pipeline

__all__ = ["Asked", "build"]

#: Tasks whose page is a chat.
_CHATS = frozenset(("text-generation", "image-text-to-text", "any-to-any"))
#: The browser's own scroll bars are dark where the page is.
_DARK = ".dark { color-scheme: dark }"
#: Components that show a translated label as an object.
_UNTRANSLATED = frozenset(("Image", "Gallery", "Audio", "Video"))


class Asked:
    """What the page asks of a pipeline; one call at a time.

    Args:
        pipe: The pipeline.
        settings: Bounds of an input.
    """

    def __init__(self, pipe: Pipeline, settings: Settings) -> None:
        self.pipe, self.settings = pipe, settings
        self.task = str(pipe.task)
        self.known = pipe.model.call_options(self.task) if hasattr(pipe.model, "call_options") else None
        self._lock = threading.Lock()

    @property
    def labels(self) -> bool:
        """Whether the caller names the labels."""
        return self.task.startswith("zero-shot-")

    def options(self, text: str, labels: str = "") -> dict[str, Any]:
        """Return the options of a call from the page's fields."""
        given = FORMS["any"].read(text) or {}
        if not isinstance(given, dict):
            raise Refused(400, 'options: expected an object, e.g. {"top_k": 3}')
        if self.labels and "candidate_labels" not in given:
            given["candidate_labels"] = [one.strip() for one in (labels or "").split(",") if one.strip()]
        return options_of(given, self.known, self.settings)

    def once(self, values: list[Any], options: str, labels: str, show: Show) -> tuple[Any, str]:
        """Return what is shown for the values of the form, and what is wrong with them, in Markdown."""
        try:
            item = sealed(self.task, item_of(self.task, values), self.settings)
            with self._lock:
                (answer,) = self.pipe(iter([item]), **self.options(options, labels))
            return show.value(answer, item), ""
        except Exception as error:  # noqa: BLE001  a person reads it
            return None, _wrong(error)

    def reply(self, history: list[dict[str, Any]], image: Any, options: str) -> Iterator[str]:
        """Yield the answer to a chat, longer each time."""
        chat = [{"role": one["role"], "content": _plain(one["content"])} for one in history]
        if image is not None:
            chat[-1]["content"] = [{"type": "image", "image": image}, {"type": "text", "text": chat[-1]["content"]}]
        chosen = self.options(options)
        item = sealed(self.task, {"messages": chat}, self.settings)
        with self._lock:
            if self.task == "text-generation":
                text = ""
                for piece in self.pipe(item, stream=True, **chosen):
                    text += piece
                    yield text
                return
            (answer,) = self.pipe(iter([item]), **chosen)
        yield show_of(self.task).value(answer, item)


def _plain(content: Any) -> str:
    """Return the text of a message as Gradio keeps it."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "\n".join(part.get("text", "") for part in parts if isinstance(part, dict))


def _wrong(error: Exception) -> str:
    refused = refusal_of(error)
    if refused.status == 422:
        said("model failed", 30, error)
    text = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|$" else c for c in refused.message)
    return f"**⚠ {text}**"


def build(pipe: Pipeline, settings: Settings | None = None) -> tuple[Any, dict[str, Any]]:
    """Return the page as Gradio's blocks, and what `launch` needs for its look and its words.

    Raises:
        OptionError: A task whose inputs nobody describes.
    """
    import gradio as gr

    refuse_unserved(pipe.task)
    asked, words = Asked(pipe, settings or Settings()), translated()
    source = pipe.resolution.source if pipe.resolution is not None else None
    title = f"{source.repo or source.path if source else type(pipe.model).__name__}: {asked.task}"
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {asked.task}\n\n`{str(source).replace('`', '')}`")
        with gr.Row():
            if asked.task in _CHATS:
                _chat(gr, asked, words)
            else:
                _form(gr, asked, words)
            with gr.Column(scale=1, min_width=280):
                _decision(gr, pipe, words)
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return blocks, {"i18n": words, "theme": gr.themes.Base(**fonts), "css": _DARK, "footer_links": []}


def _decision(gr: Any, pipe: Pipeline, words: Any) -> None:
    """Show the resolution and its reasons."""
    found = pipe.resolution
    text = explain(found) if found is not None else f"{type(pipe.model).__name__}: {pipe.task}"
    gr.Textbox(text, label=words("decision"), lines=12, max_lines=30, interactive=False, elem_id="decision")


def _form(gr: Any, asked: Asked, words: Any) -> None:
    show = show_of(asked.task)
    with gr.Column(scale=1, min_width=280):
        inputs = [
            getattr(gr, FORMS[kind.rstrip("?")].component)(
                label=_label(words, name, kind), **_keywords(FORMS[kind.rstrip("?")])
            )
            for name, kind in fields_of(asked.task).items()
        ]
        labels = gr.Textbox(label=words("candidate_labels"), visible=asked.labels)
        with gr.Accordion(words("more"), open=False):
            options = gr.Textbox(label=words("options"), lines=1, elem_id="options")
        with gr.Row():
            run = gr.Button(words("run"), variant="primary", elem_id="run")
            clear = gr.ClearButton(value=words("clear"))
        problem = gr.Markdown(elem_id="problem")
    with gr.Column(scale=1, min_width=280):
        answer = getattr(gr, show.component)(
            label=_said(words, "answer", show.component), elem_id="answer", **_keywords(show)
        )
    clear.add([*inputs, labels, options, answer, problem])

    def once(*values: Any) -> tuple[Any, str]:
        *given, named, chosen = values
        return asked.once(given, chosen, named, show)

    run.click(once, [*inputs, labels, options], [answer, problem], api_name="run", concurrency_limit=1)


def _keywords(one: Form | Show) -> dict[str, Any]:
    return {**one.keywords, **({"buttons": BUTTONS[one.component]} if one.component in BUTTONS else {})}


def _label(words: Any, name: str, kind: str) -> Any:
    """Return the words for a field, in both languages at once where Gradio's component does not choose one."""
    key = "images" if kind == "images" else name if name in WORDS else kind.rstrip("?")
    return _said(words, key, FORMS[kind.rstrip("?")].component)


def _said(words: Any, key: str, component: str) -> Any:
    return " · ".join(WORDS[key]) if component in _UNTRANSLATED else words(key)


def _chat(gr: Any, asked: Asked, words: Any) -> None:
    with gr.Column(scale=2, min_width=320):
        chat = gr.Chatbot(label=words("chat"), elem_id="answer", buttons=["copy", "copy_all"])
        message = gr.Textbox(label=words("message"), lines=1, submit_btn=words("send"), elem_id="message")
        problem = gr.Markdown(elem_id="problem")
        image = gr.Image(
            type="pil",
            label=_label(words, "image", "image"),
            buttons=BUTTONS["Image"],
            visible=asked.task != "text-generation",
            sources=["upload", "clipboard"],
        )
        with gr.Accordion(words("more"), open=False):
            options = gr.Textbox(label=words("options"), lines=1, elem_id="options")
        gr.ClearButton([chat, message, image, options, problem], value=words("clear"))

    def reply(text: str, history: Any, picture: Any, chosen: str) -> Iterator[tuple[Any, str, str]]:
        if not (text or "").strip():
            yield history, text, _wrong(Refused(400, "nothing was written"))
            return
        told = [*(history or []), {"role": "user", "content": text}]
        try:
            for said_so_far in asked.reply(told, picture, chosen):
                yield [*told, {"role": "assistant", "content": said_so_far}], "", ""
        except Exception as error:  # noqa: BLE001  a person reads it
            yield history, text, _wrong(error)

    message.submit(
        reply, [message, chat, image, options], [chat, message, problem], api_name="chat", concurrency_limit=1
    )
