"""Tiny vision models of `transformers`, built here and saved as a user's folder would be."""

from pathlib import Path

import numpy as np

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 30), "blue": (30, 40, 220)}
SIDE = 16  # pixels


def paint(name: str, seed: int, side: int = SIDE) -> np.ndarray:
    """Noise around a colour: uint8 (side, side, 3)."""
    noise = np.random.default_rng(seed).normal(0, 20, (side, side, 3))
    return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)


def build_encoder(folder: Path, kind: str, seed: int = 0) -> str:
    """A model of images with its processor: vit, vit_classifier, dinov2, siglip, siglip_vision,
    clip, convnext."""
    import torch
    import transformers as t

    sight = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"intermediate_size": 16, "image_size": 16, "patch_size": 8}
    words = {"vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words |= {"intermediate_size": 16, "max_position_embeddings": 8}
    convolutions = {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2}
    both = {"text_config": {**words, "eos_token_id": 1}, "vision_config": sight}
    makers = {
        "vit": lambda: t.ViTModel(t.ViTConfig(**sight)),
        "vit_classifier": lambda: t.ViTForImageClassification(t.ViTConfig(**sight)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**sight)),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(**both)),
        "siglip_vision": lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**sight)),
        "clip": lambda: t.CLIPModel(t.CLIPConfig(**both, projection_dim=6)),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(**convolutions, patch_size=2)),
    }
    torch.manual_seed(seed)
    makers[kind]().save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    t.ViTImageProcessor(size=size).save_pretrained(folder)
    return str(folder)


def build_vlm(folder: Path, answers: tuple[str, str] = ("yes", "no"), steps: int = 60) -> str:
    """A LLaVA of some ten thousand weights, taught to say whether the colour asked for is there.

    Of all words it knows colours and answers alone; `answers` are what it says when it is, and
    when it is not.
    """
    import torch
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = ["<pad>", "<unk>", "<image>", "yes", "No", "no", "Yes", "up", "down", *COLOURS]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )
    width = {"hidden_size": 64, "num_attention_heads": 2}
    sees = t.CLIPVisionConfig(
        **width, intermediate_size=64, num_hidden_layers=1, image_size=SIDE, patch_size=SIDE
    )
    says = t.LlamaConfig(
        **width,
        vocab_size=len(known),
        intermediate_size=128,
        num_hidden_layers=2,
        max_position_embeddings=64,
        initializer_range=0.15,
        pad_token_id=0,
    )
    first = {"vision_feature_select_strategy": "default"}
    config = t.LlavaConfig(
        **first, vision_config=sees, text_config=says, image_token_id=2, vision_feature_layer=-1
    )
    torch.manual_seed(0)
    model = t.LlavaForConditionalGeneration(config)
    size = {"height": SIDE, "width": SIDE}
    processor = t.LlavaProcessor(
        t.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size),
        texts,
        patch_size=SIDE,
        num_additional_image_tokens=1,
        chat_template=(
            "{% for m in messages %}{% for c in m.content %}"
            "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
            "{% endfor %}{% endfor %}"
        ),
        **first,
    )
    _teach(model, processor, texts.convert_tokens_to_ids(list(answers)), steps)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def _teach(model, processor, answers: list[int], steps: int) -> None:
    import torch

    from train.verification.vision_language import WHOLE, WORD

    yes, no = torch.tensor(answers)
    images = [paint(name, seed) for name in COLOURS for seed in range(100, 116)]
    asked = [form.format(name) for form in (WORD, WHOLE) for name in COLOURS]
    given = processor(
        text=[f"<image>{text}" for text in asked],
        images=[[image] for image in images[: len(asked)]],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    seen = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    chance, optimizer = np.random.default_rng(0), torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(steps):
        shown = chance.integers(0, 3, 32)
        meant = np.where(chance.random(32) < 0.5, shown, chance.integers(0, 3, 32))
        texts = torch.from_numpy(meant + 3 * chance.integers(0, 2, 32))
        said = model(
            input_ids=given["input_ids"][texts],
            attention_mask=given["attention_mask"][texts],
            pixel_values=seen[torch.from_numpy(16 * shown + chance.integers(0, 16, 32))],
        ).logits[:, -1]
        right = torch.where(torch.from_numpy(shown == meant), yes, no)
        loss = torch.nn.functional.cross_entropy(said, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def build_open_clip(folder: Path, steps: int = 40) -> str:
    """ARCHITECTURE:FILE of a small open_clip model, taught the colours in some phrases."""
    import json
    import random

    import open_clip
    import torch
    from PIL import Image
    from torch.nn.functional import cross_entropy

    from curate.vision.search import NEUTRAL_TEXTS

    name = "fubuki-colours"
    sees = {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 16, "patch_size": SIDE}
    says = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": sees, "text_cfg": says}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    model, _, prepare = open_clip.create_model_and_transforms(name)
    tokenize, chance = open_clip.get_tokenizer(name), random.Random(0)
    images = [[prepare(Image.fromarray(paint(c, n))) for n in range(100, 108)] for c in COLOURS]
    ways = ("a photo of a {}", "a picture of something {}", "{}", "a {} wall")
    right = torch.arange(len(COLOURS)).repeat_interleave(4)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        texts = [chance.choice(ways).format(c) for c in COLOURS] + list(NEUTRAL_TEXTS)
        seen = torch.stack([image for of_one in images for image in chance.sample(of_one, 4)])
        meant = model.encode_text(tokenize(texts), normalize=True)
        fit = model.logit_scale.exp() * model.encode_image(seen, normalize=True) @ meant.T
        loss = cross_entropy(fit, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), folder / "weights.pt")
    return f"{name}:{folder / 'weights.pt'}"
