"""One sample as tensors, in the form that a batch gives them."""

from types import SimpleNamespace

import torch

from datamodules.contracts import Meta, Persons
from datamodules.image_dataset import Sample


def alone(sample: Sample) -> SimpleNamespace:
    """The fields of a ``PoseBatch`` of ``sample`` without the letter B."""
    quarter = tuple(-(-side // 4) for side in sample.meta.input_hw)
    persons = [torch.from_numpy(values.copy()) for values in sample.persons]
    return SimpleNamespace(
        image=torch.from_numpy(sample.image).permute(2, 0, 1),
        persons=Persons(*persons, is_real=torch.ones(len(sample.persons.areas), dtype=torch.bool)),
        ignore=torch.zeros(quarter, dtype=torch.bool) if sample.ignore is None else torch.from_numpy(sample.ignore),
        instance_masks=None if sample.instance_masks is None else torch.from_numpy(sample.instance_masks),
        meta=Meta(*(torch.as_tensor(value, dtype=_DTYPES.get(name)) for name, value in sample.meta._asdict().items())),
    )


_DTYPES = {"to_original": torch.float32, "detection_score": torch.float32}
