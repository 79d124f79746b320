"""Which device there is, and in which precision it works."""

import torch

from curate.errors import UsageError


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError("--device", f"no device {name!r}", fix="auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError("--device", f"{name!r} is not supported", fix="auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError("--device", f"no {name!r} here", fix="--device cpu")
    return device


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it, else float32 (GPUs before Ampere, plain CPUs)."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        here = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        able = here and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if able else torch.float32
