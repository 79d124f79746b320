"""What a run needs, counted stage by stage on tensors without memory (`train.training.tracing`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from train.config import TrainConfig
from train.model.unet import UNetConfig, unet_config
from train.sampling import sampler
from train.size import Size
from train.training import tracing
from train.training.tracing import Pass

SPARE = 0.25  # of what is counted, on top, for work space and fragments, and this many bytes for
KERNELS = 32_000_000  # compiled kernels; a CPU's real peak is below (benchmarks/bench_memory.py)
FLOAT_BYTES = 4  # bytes of a float32
BATCHES_AHEAD = 3  # batches made before they are needed, that in the making among them


@dataclass(frozen=True)
class Memory:
    """Bytes at the fullest moment, by what they hold."""

    weights: int = 0  # float32, of the network at work
    averages: int = 0  # of these weights
    moments: int = 0  # what the optimisers remember
    gradients: int = 0
    casts: int = 0  # weights in the precision of the arithmetic
    activations: int = 0  # what the backward pass will need, and what is being computed
    inputs: int = 0  # images, noise and text of one pass
    buckets: int = 0  # gradients on their way between processes
    other_stages: int = 0  # weights, where they wait in the same memory

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(vars(self).values())

    @property
    def needed(self) -> int:
        """Bytes that should be free: the total and some to spare."""
        return round(self.total * (1 + SPARE)) + KERNELS


@dataclass(frozen=True)
class StagePlan:
    """The cost of one stage."""

    size: Size
    parameters: int
    flops: float  # multiplications and additions for training on one image
    training: Memory
    sampling: Memory
    together: int  # images that sampling makes at a time
    images: int  # of the whole run
    seconds: float | None = None  # for training on one image; None: not measured

    @property
    def duration(self) -> float | None:
        """Seconds of the stage's whole run."""
        return None if self.seconds is None else self.seconds * self.images


@dataclass(frozen=True)
class RunPlan:
    """The cost of a run of one size."""

    size: str
    stages: list[StagePlan]
    encoder: int  # bytes of the text encoder's weights while captions are encoded; freed after

    @property
    def training(self) -> int:
        """Bytes that should be free for training."""
        return max(self.encoder, *(stage.training.needed for stage in self.stages))

    @property
    def sampling(self) -> int:
        """Bytes that should be free for sampling."""
        return max(self.encoder, *(stage.sampling.needed for stage in self.stages))

    @property
    def duration(self) -> float | None:
        """Seconds of the whole run; None where a stage was not measured."""
        known = [stage.duration for stage in self.stages]
        return None if None in known else sum(filter(None, known))


def plan_memory(
    config: TrainConfig, nets: Sequence[UNetConfig], *, cuda: bool, encoder: int = 0
) -> RunPlan:
    """Count what a run needs, stage by stage; nothing is measured.

    Args:
        config: of the run.
        nets: networks of all stages.
        cuda: whether it will run on a card.
        encoder: bytes of the text encoder's weights.
    """
    kept = sum(tracing.sampling_weight_bytes(shape) for shape in nets)
    stages = []
    for number, (size, shape) in enumerate(zip(config.stages, nets, strict=True)):
        work = one_pass(config, shape, number)
        step = tracing.training_cost(work, again=config.gradient_accumulation > 1)
        together = sampler.count_at_once(size)  # the base twice: with its prompt, and without
        drawn = together * (2 if shape.noise_levels == 1 else 1)
        cost = tracing.sampling_cost(Pass(shape, size, drawn))
        stages.append(
            StagePlan(
                size,
                tracing.count_parameters(shape),
                step.flops / work.images,
                training(config, nets, number, cuda=cuda),
                Memory(kept, casts=cost.casts, activations=cost.activations, inputs=cost.inputs),
                together,
                config.images[number],
            )
        )
    return RunPlan(config.model_size, stages, encoder)


def training(
    config: TrainConfig, nets: Sequence[UNetConfig], number: int, *, cuda: bool, world: int = 1
) -> Memory:
    """Memory of one process while a stage trains.

    Args:
        config: of the run.
        nets: networks of all stages.
        number: of the stage.
        cuda: whether it runs on a card; finished and later stages then wait elsewhere.
        world: processes that share a batch.
    """
    work = one_pass(config, nets[number], number, world=world)
    step = tracing.training_cost(work, again=config.gradient_accumulation > 1)
    state = resident(config, nets, number, cuda=cuda, world=world)
    share = -(-config.batch_size // world)
    rest = step.casts + step.activations + step.inputs
    return replace(
        state,
        gradients=max(step.gradients, state.weights - rest),  # all exist when optimisers step
        casts=step.casts,
        activations=step.activations,
        inputs=step.inputs + round(BATCHES_AHEAD * share * step.inputs / work.images),
    )


def resident(
    config: TrainConfig, nets: Sequence[UNetConfig], number: int, *, cuda: bool, world: int = 1
) -> Memory:
    """What is there between two steps of a stage, with room for gradients."""
    weights = [FLOAT_BYTES * tracing.count_parameters(shape) for shape in nets]
    own = weights[number]
    return Memory(
        weights=own,
        averages=own * len(config.ema_sigma_rel),
        moments=tracing.moments(nets[number], config.optimizer),
        gradients=own,
        buckets=own if world > 1 else 0,
        other_stages=0 if cuda else sum(weights) - own,
    )


def unet_configs(config: TrainConfig, text_width: int) -> list[UNetConfig]:
    """The networks of a run from nothing."""
    blocks = None if config.mid_blocks < 0 else config.mid_blocks
    return [
        unet_config(config.model_size, config.stages, number, text_width, mid_blocks=blocks)
        for number in range(len(config.stages))
    ]


def one_pass(config: TrainConfig, shape: UNetConfig, number: int, *, world: int = 1) -> Pass:
    """The largest pass of a stage: one microbatch of one process's share of a batch."""
    size = config.stages[number]
    seen = Size(*(min(side, config.crop) for side in size)) if number else size
    share = -(-config.batch_size // world)
    return Pass(
        replace(shape, gradient_checkpointing=config.gradient_checkpointing),
        seen,
        images=-(-share // min(config.gradient_accumulation, share)),
        precision=config.precision,
    )
