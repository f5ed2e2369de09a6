"""Tiny text models: BERT, RoBERTa-like, Llama, Qwen2, GPT-2, T5, BART, Tapas."""

from __future__ import annotations

from tests.tiny._words import bert_tokenizer, byte_tokenizer, lm_tokenizer, wordpiece_vocab


def _spread(model, factor: float = 30.0):
    """Make the random weights of the head larger, so that different inputs get different answers."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "LayerNorm" not in name:
                weight.mul_(factor)
    return model


def _bert_config(**options):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(wordpiece_vocab()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **options,
    )


def _bert(name: str, **options):
    import transformers

    return _spread(getattr(transformers, name)(_bert_config(**options))), [bert_tokenizer()]


def text_classification():
    labels = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
    return _bert("BertForSequenceClassification", id2label=labels, label2id={v: k for k, v in labels.items()})


def cross_encoder():
    return _bert("BertForSequenceClassification", num_labels=1)


def zero_shot_classification():
    labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
    return _bert("BertForSequenceClassification", id2label=labels, label2id={v: k for k, v in labels.items()})


def token_classification():
    labels = dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")))
    return _bert("BertForTokenClassification", id2label=labels, label2id={v: k for k, v in labels.items()})


def fill_mask():
    return _bert("BertForMaskedLM")


def feature_extraction():
    return _bert("BertModel")


def question_answering():
    return _bert("BertForQuestionAnswering")


def multiple_choice():
    return _bert("BertForMultipleChoice")


def time_series_forecasting():
    from transformers import TimesFmConfig, TimesFmModelForPrediction

    config = TimesFmConfig(
        patch_length=8,
        context_length=32,
        horizon_length=8,
        num_hidden_layers=1,
        hidden_size=16,
        intermediate_size=16,
        head_dim=8,
        num_attention_heads=2,
    )
    return TimesFmModelForPrediction(config), []


def _decoder(config_name: str, model_name: str, *, chat: bool = True, positions: int = 64, **options):
    import transformers

    tokenizer = lm_tokenizer(chat=chat)
    config = getattr(transformers, config_name)(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **options,
    )
    model = _spread(getattr(transformers, model_name)(config), 12.0)
    if model.can_generate():
        model.generation_config.max_new_tokens = 8
    return model, [tokenizer]


def text_generation():
    return _decoder("LlamaConfig", "LlamaForCausalLM")


def qwen2():
    return _decoder("Qwen2Config", "Qwen2ForCausalLM")


def qwen2_sequences():
    """A Qwen2 that labels whole texts; its checkpoint has no other head."""
    labels = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
    return _decoder("Qwen2Config", "Qwen2ForSequenceClassification", id2label=labels, num_labels=3)


def qwen2_tokens():
    """A Qwen2 that labels tokens."""
    labels = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
    return _decoder("Qwen2Config", "Qwen2ForTokenClassification", id2label=labels, num_labels=3)


def decision():
    """A chat model with the settings that make it answer typed questions; its labels are words it knows."""
    from transformers.decision import DecisionConfig

    labels = {"choice": ["cat", "dog", "bird", "fish"], "noul": ["no", "yes"], "score": ["one", "two", "three"]}
    model, parts = _decoder("LlamaConfig", "LlamaForCausalLM", positions=512)
    return model, [*parts, DecisionConfig(labels=labels, temperature={"choice": 2.0})]


def jev():
    """A model with a decision head of its own."""
    from transformers import JevConfig, JevForDecision
    from transformers.decision import DecisionConfig

    tokenizer = lm_tokenizer(chat=True)
    text = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    model = _spread(JevForDecision(JevConfig(hidden_size=16, text_config=text)), 8.0)
    template = "{{ state ~ ' ' ~ question.instructions ~ ' ' ~ question.options|join(' ') ~ ' :<|mark|>' }}"
    model.decision_config = DecisionConfig(chat_template=template)
    return model, [tokenizer]


def gpt2():
    """A decoder without a pad token and without a chat template."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = lm_tokenizer()
    tokenizer.pad_token = None
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    model = _spread(GPT2LMHeadModel(config), 12.0)
    model.generation_config.max_new_tokens = 6
    return model, [tokenizer]


def _t5(task_prefix: str | None = None):
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = lm_tokenizer(seq2seq=True)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
        dropout_rate=0.0,
    )
    if task_prefix:
        config.task_specific_params = {task_prefix: {"prefix": "the big "}}
    model = _spread(T5ForConditionalGeneration(config), 3.0)
    model.generation_config.max_new_tokens = 8
    return model, [tokenizer]


def text2text_generation():
    return _t5()


def translation():
    return _t5("translation")


def summarization():
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = byte_tokenizer()
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        dropout=0.0,
    )
    model = _spread(BartForConditionalGeneration(config), 12.0)
    model.generation_config.max_new_tokens = 8
    return model, [tokenizer]


def table_question_answering():
    import tempfile
    from pathlib import Path

    from transformers import TapasConfig, TapasForQuestionAnswering, TapasTokenizer

    config = TapasConfig(
        vocab_size=len(wordpiece_vocab()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_aggregation_labels=4,
        aggregation_labels={0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
        cell_selection_preference=0.2,
    )
    with tempfile.TemporaryDirectory() as folder:
        vocab = Path(folder, "vocab.txt")
        vocab.write_text("\n".join(wordpiece_vocab()) + "\n", encoding="utf-8")
        tokenizer = TapasTokenizer(vocab_file=str(vocab), model_max_length=64)
    return _spread(TapasForQuestionAnswering(config), 4.0), [tokenizer]


def layoutlm():
    from transformers import LayoutLMConfig, LayoutLMForQuestionAnswering

    options = _bert_config().to_dict()
    keep = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = LayoutLMConfig(
        **{k: options[k] for k in keep}, max_position_embeddings=64, max_2d_position_embeddings=1024
    )
    return _spread(LayoutLMForQuestionAnswering(config), 4.0), [bert_tokenizer()]
