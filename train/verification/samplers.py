"""What draws, told by content: our checkpoint, a diffusers pipeline, or images drawn elsewhere."""

from pathlib import Path

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE, STATE_FILE
from curate.system.progress import SILENT, Progress
from train.sampling.sampler import load_sampler
from train.sampling.sheets import IMAGE_LIST
from train.size import Size
from train.verification.diffusers_pipeline import INDEX, PipelineSampler, PipelineSettings
from train.verification.generate import Sampler
from train.verification.image_folder import FolderSampler

KINDS = {
    MODEL_FILE: "a checkpoint",
    INDEX: "a diffusers pipeline",
    IMAGE_LIST: "a list of generated images",
}
WHAT_DRAWS = (
    "name a run folder of train finetune or its .safetensors, a folder of diffusers "
    f"({INDEX}), or a folder of generated images ({IMAGE_LIST})"
)


def is_ours(path: Path) -> bool:
    """Whether it is none of the folders that other programmes write."""
    return not any((path / name).is_file() for name in KINDS if name != MODEL_FILE)


def open_sampler(
    path: Path,
    *,
    lora: Path | None = None,
    size: Size | None = None,
    device: str = "auto",
    settings: PipelineSettings | None = None,
    progress: Progress = SILENT,
) -> Sampler:
    """Make ready whatever draws at `path`.

    Args:
        path: a run folder or model file of ours; a folder with `model_index.json`, which any
            text-to-image pipeline of diffusers reads; or a folder of images with
            `generated.jsonl`.
        lora: file of a LoRA for a diffusers pipeline.
        size: of the images: a pipeline is asked for it, images of a folder are fitted to it. None
            for the sampler's own.
        device: auto, cpu or cuda; nothing is computed for images that are drawn already.
        settings: of a diffusers pipeline, where they are not to be its own.
        progress: counts the files of a pipeline and the images of a folder as they are read.

    Raises:
        InputError: nothing there draws, it is broken, it cannot draw at `size`, or the LoRA is
            made for another model.
        UsageError: a LoRA for what takes none, or no such device.
    """
    found = [name for name in KINDS if (path / name).is_file()]
    if len(found) > 1:
        both = " and ".join(f"{KINDS[name]} ({name})" for name in found)
        raise InputError(path, f"holds {both}", fix="keep them in folders of their own")
    if lora is not None and found != [INDEX]:
        what = KINDS[found[0]] if found else "no diffusers pipeline"
        fix = f"leave it out, or name a folder with {INDEX}"
        raise UsageError("--lora", f"{path} is {what}, which takes no LoRA", fix=fix)
    if found == [INDEX]:
        return PipelineSampler(path, lora, size, device, settings or PipelineSettings(), progress)
    if found == [IMAGE_LIST]:
        return FolderSampler(path, size, progress)
    if path.is_dir() and not found and not (path / STATE_FILE).exists():
        raise InputError(path, "nothing here draws, and no images are listed", fix=WHAT_DRAWS)
    sampler = load_sampler(path, device=device)
    if size not in (None, sampler.size):
        problem = f"draws at {sampler.size} pixels, not at {size}"
        raise InputError(path, problem, fix=f"ask for {sampler.size}")
    return sampler
