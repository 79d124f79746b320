"""What each trainer reads: where images lie, its settings file, how it is started.

The fields are those that the programs document, or read in their source:

- kohya: kohya-ss/sd-scripts, `docs/config_README-en.md`, `library/config_util.py`
- onetrainer: Nerogar/OneTrainer, `modules/util/config/ConceptConfig.py` (its version 1)
- ai-toolkit: ostris/ai-toolkit, `config/examples/train_lora_flux_24gb.yaml`,
  `toolkit/config_modules.py` (`DatasetConfig`)
- simpletuner: bghira/SimpleTuner, `documentation/DATALOADER.md`
- hf: Hugging Face's `datasets`, `imagefolder` with `metadata.jsonl`
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.export.buckets import STEPS, bucket_limits

HF_SPLIT = "train"  # a folder of this name is a split; a file with such a word in its name is none
MOST_SAMPLE_PROMPTS = 4  # captions that ai-toolkit draws now and then
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Plan:
    """What is exported, as far as settings name it."""

    root: Path  # the folder, absolute
    resolution: int  # pixels; images are trained at about its square
    folders: Mapping[int, str]  # showings an epoch -> folder of the images shown so often
    several: bool  # whether any image has several captions
    prompts: Sequence[str]  # captions of images that are shown most often

    @property
    def name(self) -> str:
        """Names the data in a trainer's lists."""
        return self.root.name or "export"


@dataclass(frozen=True)
class Trainer:
    """A format: what is written for whom."""

    name: str
    start: str  # how it is started; {root} is the folder
    captions: str  # which captions of an image it is given, as a sentence part
    settings_name: str | None = None  # of the file that `settings` is
    settings: Callable[[Plan], str] | None = None
    repeats: bool = False  # whether it can be told how often to show an image
    every_caption: bool = True  # written into the text file, one a line; else the first alone
    folder: str = ""  # where all images lie, if it cannot

    def start_in(self, root: str) -> str:
        """How it is started with the folder `root`, as it is typed, or as text inside quotes."""
        written = json.dumps(root)[1:-1] if '"{root}' in self.start else shlex.quote(root)
        return self.start.format(root=written)

    def place(self, repeats: int) -> str:
        """The folder of images that an epoch shows so often, with its slash; empty: the root."""
        inside = f"{repeats}_images" if self.repeats else self.folder
        return f"{inside}/" if inside else ""

    def caption_file(self, captions: Sequence[str], several: bool) -> bytes:
        """The text beside an image: a caption a line, or the first alone."""
        kept = captions if self.every_caption else captions[:1]
        if self.name == "kohya" and several:  # its wildcard notation, which is on then
            kept = [text.replace("{", "{{").replace("}", "}}") for text in kept]
        return "".join(f"{text}\n" for text in kept).encode()


def quote(text: str) -> str:
    """A text as JSON, TOML and YAML alike read it: between double quotes, what is unseen escaped.

    Source: RFC 8259, section 7; TOML 1.0, "String"; YAML 1.2.2, section 7.3.1.
    """
    return escape_unseen(json.dumps(text, ensure_ascii=False))


def escape_unseen(text: str) -> str:
    """JSON in which line ends that are none to JSON, and what is not seen, are escapes."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _kohya_settings(plan: Plan) -> str:
    shortest, longest = bucket_limits(plan.resolution)
    lines = [
        "[general]",
        'caption_extension = ".txt"',
        *(["enable_wildcard = true  # one line of the text file, at random"] * plan.several),
        "",
        "[[datasets]]",
        f"resolution = {plan.resolution}",
        "batch_size = 1",
        "enable_bucket = true",
        f"min_bucket_reso = {shortest}",
        f"max_bucket_reso = {longest}",
        f"bucket_reso_steps = {STEPS}",
        "bucket_no_upscale = false",
    ]
    for repeats, folder in plan.folders.items():
        path = quote(str(plan.root / folder))
        lines += ["", "  [[datasets.subsets]]", f"  image_dir = {path}"]
        lines.append(f"  num_repeats = {repeats}")
    return "\n".join(lines) + "\n"


def _onetrainer_settings(plan: Plan) -> str:
    concepts = [
        {
            "__version": 1,
            "name": f"{plan.name}, {repeats} an epoch",
            "path": str(plan.root / folder),
            "enabled": True,
            "include_subdirectories": False,
            "balancing": float(repeats),
            "balancing_strategy": "REPEATS",
            "loss_weight": 1.0,
            "text": {"prompt_source": "sample"},
        }
        for repeats, folder in plan.folders.items()
    ]
    return _json(concepts)


def _simpletuner_settings(plan: Plan) -> str:
    backends: list[dict[str, Any]] = [
        {
            "id": f"{plan.name}-{repeats}",
            "type": "local",
            "dataset_type": "image",
            "instance_data_dir": str(plan.root / folder),
            "caption_strategy": "textfile",
            "metadata_backend": "discovery",
            "resolution": plan.resolution,
            "resolution_type": "pixel_area",
            "crop": False,
            "cache_dir_vae": f"cache/vae/{plan.name}-{repeats}",
            "repeats": repeats - 1,  # further showings
        }
        for repeats, folder in plan.folders.items()
    ]
    embeds = {
        "id": f"{plan.name}-text-embeds",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": f"cache/text/{plan.name}",
    }
    return _json([*backends, embeds])


def _json(value: object) -> str:
    return escape_unseen(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


# a LoRA of FLUX.1, as the first of its examples; all but `datasets` is for the user to change
_AI_TOOLKIT = """---
job: extension
config:
  name: {name}
  process:
    - type: "sd_trainer"
      training_folder: "output"
      device: "cuda:0"
      network:
        type: "lora"
        linear: 16
        linear_alpha: 16
      save:
        dtype: float16
        save_every: 250
        max_step_saves_to_keep: 4
      datasets:
{datasets}      train:  # from here on as its example for FLUX.1 has it: put in your model and steps
        batch_size: 1
        steps: 2000
        gradient_accumulation_steps: 1
        train_unet: true
        train_text_encoder: false
        gradient_checkpointing: true
        noise_scheduler: "flowmatch"
        optimizer: "adamw8bit"
        lr: 0.0001
        dtype: bf16
      model:
        name_or_path: "black-forest-labs/FLUX.1-dev"
        is_flux: true
        quantize: true
      sample:
        sampler: "flowmatch"
        sample_every: 250
        width: {resolution}
        height: {resolution}
        prompts:
{prompts}        seed: 42
        guidance_scale: 4
        sample_steps: 20
meta:
  name: "[name]"
  version: "1.0"
"""


def _ai_toolkit_settings(plan: Plan) -> str:
    datasets = "".join(
        f"""        - folder_path: {quote(str(plan.root / folder))}
          caption_ext: "txt"
          caption_dropout_rate: 0.05
          shuffle_tokens: false
          cache_latents_to_disk: true
          resolution: [{plan.resolution}]
          num_repeats: {repeats}
"""
        for repeats, folder in plan.folders.items()
    )
    prompts = "".join(f"          - {quote(text)}\n" for text in plan.prompts)
    name = quote(plan.name)
    told = {"name": name, "resolution": plan.resolution, "datasets": datasets, "prompts": prompts}
    return _AI_TOOLKIT.format(**told)


_LINE_AT_RANDOM = "all, one a line; each time it takes one of them"
TRAINERS: Mapping[str, Trainer] = {
    "folder": Trainer(
        "folder",
        "name {root} to any trainer that reads NAME.txt beside NAME.png",
        "all, one a line",
    ),
    "kohya": Trainer(
        "kohya",
        "accelerate launch TRAINING_SCRIPT.py --dataset_config {root}/dataset.toml …",
        _LINE_AT_RANDOM,
        "dataset.toml",
        _kohya_settings,
        repeats=True,
    ),
    "onetrainer": Trainer(
        "onetrainer",
        'put "concept_file_name": "{root}/concepts.json" into its configuration',
        _LINE_AT_RANDOM,
        "concepts.json",
        _onetrainer_settings,
        repeats=True,
    ),
    "ai-toolkit": Trainer(
        "ai-toolkit",
        "put your model into {root}/config.yaml, then python run.py {root}/config.yaml",
        "the first, since it would join several to one",
        "config.yaml",
        _ai_toolkit_settings,
        repeats=True,
        every_caption=False,
    ),
    "simpletuner": Trainer(
        "simpletuner",
        'put "--data_backend_config": "{root}/multidatabackend.json" into its config.json',
        _LINE_AT_RANDOM,
        "multidatabackend.json",
        _simpletuner_settings,
        repeats=True,
    ),
    "hf": Trainer(
        "hf",
        'datasets.load_dataset("imagefolder", data_dir="{root}")',
        "the first as text, all as texts",
        f"{HF_SPLIT}/metadata.jsonl",
        folder=HF_SPLIT,
    ),
}
