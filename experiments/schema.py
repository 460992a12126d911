"""The sections of a run's configuration, as dataclasses. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, List, Optional, Union

from datamodules.config import DataConfig, EvaluationBackend
from lightning_modules.shared.config import OptimizerConfig


class Accelerator(Enum):
    auto = "auto"
    """A GPU if there is one."""
    cpu = "cpu"
    gpu = "gpu"
    mps = "mps"


class Strategy(Enum):
    auto = "auto"
    """One device, or ``ddp`` over several."""
    ddp = "ddp"


class OnNan(Enum):
    """What a loss or gradient that is not finite does to a run."""

    stop = "stop"
    skip = "skip"
    """Leave that optimizer step out, on all ranks. Costs a wait for the device in every step."""


class WandbMode(Enum):
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class TrainerConfig:
    accelerator: Accelerator = Accelerator.auto
    devices: Union[int, str] = "auto"
    """How many per node, ``auto`` for all there are (one on a CPU), or indices such as ``"0,2"``."""
    num_nodes: int = 1
    strategy: Strategy = Strategy.auto
    precision: str = "32-true"
    """``32-true``, ``bf16-mixed`` or ``16-mixed``."""
    max_epochs: int = 36
    max_steps: int = -1
    """Optimizer steps after which training ends, if that is sooner than ``max_epochs``; -1 is no limit. Where the
    schedule counts steps too, they are steps of ``optimizer.reference_batch`` samples: of more, there are fewer."""
    accumulate: Optional[int] = None
    """Batches of ``data.batch_size`` per device and optimizer step, whatever that makes of the recipe's batch; null
    makes steps of ``optimizer.reference_batch`` samples on any number of devices."""
    val_every_epochs: int = 1
    """The end of the training is evaluated besides."""
    val_every_steps: Optional[int] = None
    """Evaluate also within an epoch, after every so many batches."""
    checkpoint_every_steps: Optional[int] = 1000
    """Write ``last.ckpt`` also within an epoch, after every so many optimizer steps; null only between epochs."""
    keep_optimizer: bool = False
    """Keep ``last.ckpt``, ``previous.ckpt`` and ``best.ckpt`` with the optimizer's state when a run has finished; else
    the weights of the best and the last step remain."""
    limit_train_batches: Optional[int] = None
    """Batches per epoch and device; null is all."""
    log_every_steps: int = 50
    vitals_every_steps: Optional[int] = 100
    """Measure gradients, weights and updates of every part of the network after so many optimizer steps, and each loss
    term's share of the gradient ten times as rarely; null is never. See ``callbacks.vitals``."""
    deterministic: bool = False
    """Only deterministic algorithms; an operation that has none raises."""
    channels_last: bool = False
    compile: bool = False
    """``torch.compile`` the network."""
    sync_batchnorm: bool = False
    """Batch normalisation over the samples of all devices (GPUs only) instead of each device's own."""
    ema_decay: Optional[float] = None
    """Evaluate, and keep in checkpoints, an exponential moving average of the weights; null is the weights themselves.
    """
    on_nan: OnNan = OnNan.stop
    max_nan_skips: int = 5
    """``on_nan=skip``: so many steps in a row may be left out; one more ends the run."""
    ddp_timeout: float = 1800.0
    """Seconds after which a collective that not every rank enters ends the run."""


@dataclass
class EvaluationConfig:
    backend: EvaluationBackend = EvaluationBackend.pycocotools
    """What computes COCO's figures: ``pycocotools``, or ``hotcoco``, which gives the same ones sooner."""


@dataclass
class WandbConfig:
    mode: Optional[WandbMode] = None
    """null is online where someone is logged in, else offline."""
    project: str = "pose-papers"
    entity: Optional[str] = None
    group: Optional[str] = None
    name: Optional[str] = None
    """Null is ``<paper>/<name of the run's folder>``."""
    tags: List[str] = field(default_factory=list)
    init_timeout: float = 20.0
    """Seconds to wait for the server before the run goes on offline."""


@dataclass
class OutputConfig:
    root: str = "runs"
    """A run's folder is ``<root>/<paper>/<name>``."""
    pictures: int = 6
    """Validation images drawn after every evaluation, truth beside prediction; 0 is none."""


@dataclass
class RunConfig:
    paper: str = ""
    name: Optional[str] = None
    """Null is ``<preset or "recipe">-<fingerprint>``."""
    preset: Optional[str] = None
    seed: int = 0
    model: Any = None
    """The paper's own ``Config``."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


MACHINE_KEYS = (
    "name",
    "preset",
    "evaluation",
    "wandb",
    "output",
    "data.num_workers",
    "data.worker_timeout",
    "data.val_batch_size",
    "data.batch_size",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.accumulate",
    "trainer.checkpoint_every_steps",
    "trainer.keep_optimizer",
    "trainer.log_every_steps",
    "trainer.vitals_every_steps",
    "trainer.ddp_timeout",
    "trainer.on_nan",
    "trainer.max_nan_skips",
)
"""What may differ between two halves of one run: where and how it is computed, not what; and what becomes of a fault,
so that a run which stopped at one can go on. The samples per optimizer step must stay; ``callbacks.run_record`` holds
that."""

TEST_KEYS = ("model.decode", "model.flip_test", "model.scales")
"""What no training reads: how a trained network is tested. Runs that differ in nothing else share their training."""


@cache
def is_among(key: str, keys: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of ``keys`` or lies in a section that is."""
    return any(key == one or key.startswith(f"{one}.") for one in keys)


DATA_PATHS = ("data.root", "data.detections.file")
"""Where data lie may differ too, what they are called may not."""
