"""What the page says, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["WORDS", "translated"]

#: Key -> (English, Chinese).
WORDS: Mapping[str, tuple[str, str]] = {
    "run": ("Run", "运行"),
    "clear": ("Clear", "清空"),
    "send": ("Send", "发送"),
    "message": ("Your message", "你的消息"),
    "chat": ("Chat", "对话"),
    "answer": ("Answer", "结果"),
    "decision": ("How this model was recognised", "模型识别依据"),
    "options": ("Options as JSON, e.g. {\"top_k\": 3}", "选项（JSON），例如 {\"top_k\": 3}"),
    "more": ("More", "更多"),
    "candidate_labels": ("Labels, separated by commas", "候选标签，用逗号分隔"),
    "text": ("Text", "文本"),
    "text_pair": ("Second text (may be left empty)", "第二段文本（可留空）"),
    "texts": ("Texts, one a line", "文本，每行一条"),
    "image": ("Image", "图像"),
    "images": ("Images", "多张图像"),
    "audio": ("Sound", "音频"),
    "video": ("Video", "视频"),
    "table": ("Table, the names of the columns first", "表格，首行为列名"),
    "series": ("Numbers, separated by commas", "数字，用逗号分隔"),
    "seed": ("Seed (may be left empty)", "随机种子（可留空）"),
    "any": ("JSON", "JSON"),
    # fields of tasks
    "query": ("Query", "查询"),
    "question": ("Question", "问题"),
    "context": ("Context", "上下文"),
    "prompt": ("Prompt", "提示词"),
    "choices": ("Choices, one a line", "选项，每行一个"),
    "documents": ("Documents, one a line", "文档，每行一条"),
    "sentences": ("Sentences, one a line", "句子，每行一条"),
    "source_sentence": ("Sentence to compare with", "源句子"),
    "state": ("Situation", "情境"),
    "questions": ("Questions as JSON", "问题（JSON）"),
    "mask_image": ("Mask: white is painted anew", "蒙版：白色区域将被重绘"),
    "image_0": ("First image", "第一张图像"),
    "image_1": ("Second image", "第二张图像"),
    "word_boxes": ("Words and boxes as JSON (may be left empty)", "单词及其框（JSON，可留空）"),
}  # fmt: skip


#: What browsers call Chinese, as far as Gradio follows them: others get English.
_CHINESE = ("zh-CN", "zh-TW")


def translated() -> Any:
    """Return Gradio's table of words; the reader's browser says which language is shown."""
    import gradio as gr

    english, chinese = ({key: both[i] for key, both in WORDS.items()} for i in (0, 1))
    return gr.I18n(en=english, **dict.fromkeys(_CHINESE, chinese))
