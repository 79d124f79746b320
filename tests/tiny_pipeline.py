"""A Stable Diffusion of a few thousand weights, and LoRAs for it, as a user's files would be."""

from pathlib import Path
from typing import Any

from tests import tiny_encoder

SIDE = 16  # pixels of its images


def build(folder: Path, *, width: int = 8, blanking: bool = False, seed: int = 0) -> Path:
    """Save the pipeline, random weights and all; `blanking` adds a safety checker that blanks all.

    A LoRA of one `width` does not fit another.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
    from diffusers import UNet2DConditionModel as UNet
    from transformers import AutoTokenizer, CLIPTextModel

    encoder = tiny_encoder.build(folder / "encoder", "clip_text", seed)
    words = AutoTokenizer.from_pretrained(encoder, model_max_length=16)
    words.add_special_tokens({"pad_token": "[UNK]"})
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"block_out_channels": (width, 2 * width), "norm_num_groups": 4}
    autoencoder = AutoencoderKL(
        **shape,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    autoencoder.decoder.conv_out.weight.data.mul_(8)  # colours rather than greys
    unet = UNet(
        **shape,
        sample_size=SIDE // 2,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    checker, extractor = _blanking_checker() if blanking else (None, None)
    StableDiffusionPipeline(
        autoencoder,
        CLIPTextModel.from_pretrained(encoder),
        words,
        unet,
        DDIMScheduler(clip_sample=False, steps_offset=1),
        checker,
        extractor,
        requires_safety_checker=blanking,
    ).save_pretrained(folder)
    return folder


def _blanking_checker() -> tuple[Any, Any]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    sight = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight |= {"intermediate_size": 8, "image_size": 8, "patch_size": 4}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=sight, projection_dim=8))
    checker.concept_embeds_weights.data.fill_(-2)  # below any cosine: every concept is seen
    return checker, CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8)


def lora(pipeline: Path, folder: Path, *, rank: int = 2, seed: int = 0, scale: float = 1.0) -> Path:
    """A LoRA as training scripts save it, for attention of the network; returns its file."""
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = StableDiffusionPipeline.from_pretrained(pipeline, safety_checker=None).unet
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=["to_q", "to_v"]))
    torch.manual_seed(seed)
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:  # zero before training
            torch.nn.init.normal_(parameter, std=scale)
    layers = get_peft_model_state_dict(unet)
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"
