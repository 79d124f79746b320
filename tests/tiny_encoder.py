"""Tiny text encoders of `transformers`, built here and saved as a user's folder would be."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from train.text_encoder.states import EncodedText

WORDS = "a red green blue yellow black circle square triangle with of and the".split()


def of_padded(states_NLD: "Tensor", lengths_N: "Tensor") -> "EncodedText":
    """Encoded text from states padded to one length."""
    import torch

    from train.text_encoder.states import EncodedText

    mask = torch.arange(states_NLD.shape[1]) < lengths_N[:, None]
    return EncodedText.from_rows(states_NLD[mask].half(), lengths_N)


def build(folder: Path, kind: str = "bert", seed: int = 0, stored: str = "float32") -> str:
    """A model of a few thousand weights with a word tokenizer.

    Kinds: bert, t5, umt5, bart (encoder-decoder), gpt2 (decoder-only), clip (both towers),
    clip_text (its text part alone), vit (images only).
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]"]
    vocabulary = {w: n for n, w in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pad = {"pad_token": "[PAD]"} if kind not in ("gpt2", "clip", "clip_text") else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **pad).save_pretrained(
        folder
    )
    torch.manual_seed(seed)
    _model(kind, len(vocabulary)).to(getattr(torch, stored)).save_pretrained(folder)
    return str(folder)


def _model(kind: str, count: int):
    import transformers as t

    text = {"vocab_size": count, "hidden_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 64}
    t5 = {"vocab_size": count, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1}
    bart = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64}
    bart |= {"decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sight = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"intermediate_size": 16, "image_size": 8, "patch_size": 4}
    makers = {
        "bert": lambda: t.BertModel(t.BertConfig(**text)),
        "t5": lambda: t.T5EncoderModel(t.T5Config(num_heads=4, **t5)),
        "umt5": lambda: t.UMT5EncoderModel(t.UMT5Config(num_heads=4, **t5)),
        "bart": lambda: t.BartModel(t.BartConfig(vocab_size=count, **bart)),
        "gpt2": lambda: t.GPT2Model(
            t.GPT2Config(vocab_size=count, n_embd=32, n_layer=1, n_head=2, n_positions=128)
        ),
        "clip": lambda: t.CLIPModel(
            t.CLIPConfig(text_config={**text, "eos_token_id": 1}, vision_config=sight)
        ),
        "clip_text": lambda: t.CLIPTextModel(t.CLIPTextConfig(**text, eos_token_id=1)),
        "vit": lambda: t.ViTModel(t.ViTConfig(**sight)),
    }
    return makers[kind]()
