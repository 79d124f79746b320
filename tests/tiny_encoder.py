"""A tiny text encoder of `transformers`, built here and saved as a user's folder would be."""

from pathlib import Path

WORDS = "a red green blue yellow black circle square triangle with of and the".split()


def build(folder: Path, kind: str = "bert", seed: int = 0) -> str:
    """A BERT or T5 encoder of a few thousand weights with a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        T5Config,
        T5EncoderModel,
    )

    special = ["[PAD]", "[UNK]"]
    vocabulary = {w: n for n, w in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    count = len(vocabulary)
    if kind == "t5":
        model = T5EncoderModel(
            T5Config(vocab_size=count, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
        )
    else:
        model = BertModel(
            BertConfig(
                vocab_size=count,
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=64,
            )
        )
    model.save_pretrained(folder)
    return str(folder)
