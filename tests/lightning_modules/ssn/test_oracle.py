import torch

from datamodules.coco import CocoDataModule
from datamodules.config import DataConfig, View
from datamodules.contracts import labelled_inside
from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.skeleton import COCO
from lightning_modules.ssn.config import Config
from lightning_modules.ssn.oracle import rows


def test_ceilings_of_real_crops(coco_mini):
    """Ground truth through encoding and decoding: finer steps and larger crops come nearer."""
    config = DataConfig(
        root=str(coco_mini), view=View.person, crop_size=[256, 192], val_batch_size=64, num_workers=0, limit_val=12
    )
    data = CocoDataModule(config, COCO)
    data.setup("validate")
    decoders = rows(Config(), COCO)
    evaluators = {
        name: CocoKeypointEvaluator(data.val_annotation_file, image_ids=data.val_image_ids) for name in decoders
    }
    errors: dict[str, list[torch.Tensor]] = {name: [] for name in decoders}
    for batch in data.val_dataloader():
        matrix = batch.meta.to_original
        truth = batch.persons.keypoints[:, 0] @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
        for name, decode in decoders.items():
            found = decode(batch)
            evaluators[name].update(found)
            distance = (found.keypoints[:, 0, :, :2] - truth).norm(dim=-1)
            errors[name].append(distance[labelled_inside(batch)[:, 0]])
    mean = {name: torch.cat(values).mean().item() for name, values in errors.items()}
    for size in ("256x192", "384x288"):
        assert mean[f"{size}, dark"] < 0.05 * mean[f"{size}, quarter"]
        assert mean[f"{size}, quarter"] < 0.6 * mean[f"{size}, argmax"]
    for step in ("argmax", "quarter"):
        assert abs(mean[f"384x288, {step}"] / mean[f"256x192, {step}"] - 2 / 3) < 0.05
    figures = {name: evaluator.compute()["AP50"] for name, evaluator in evaluators.items()}
    assert min(figures.values()) > 0.98
