import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules.annotations import AnnotationError
from datamodules.coco import CocoDataModule, normalize
from datamodules.config import AugmentationConfig, DataConfig, OnBadAnnotation, OnBadImage, Resize, View
from datamodules.skeleton import COCO

NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}


def module(root, seed=0, **changes):
    options = {"size": 64, "max_size": 96, "train_size": [48, 64], "num_workers": 0, "batch_size": 2}
    data = CocoDataModule(DataConfig(**{"root": str(root), **options, **changes}), COCO, seed)
    data.prepare_data()
    return data


@pytest.fixture
def root(write_coco, person):
    """Five images: 1 and 3 with a labelled person, 2 and 4 with one without keypoints, 5 empty."""
    people = [person(10 + n, image_id=n, **({} if n % 2 else NOBODY)) for n in (1, 2, 3, 4)]
    return write_coco(people, dict.fromkeys((1, 2, 3, 4, 5), (40, 60)))


def ids(loader):
    return sorted(image_id for batch in loader for image_id in batch.meta.image_id.tolist())


def test_training_keeps_images_with_labelled_people(root):
    data = module(root)
    data.setup("fit")
    assert len(data.train_set) == 2
    assert ids(data.train_dataloader()) == [1, 3]
    assert data.val_image_ids == [1, 2, 3, 4, 5]
    batches = list(data.val_dataloader())
    assert [batch.meta.image_id.tolist() for batch in batches] == [[1], [2], [3], [4], [5]]
    assert [batch.meta.sample_id.item() for batch in batches] == [0, 1, 2, 3, 4]
    assert data.val_annotation_file == root / "annotations/person_keypoints_val2017.json"


def test_images_are_selected(root):
    data = module(root, train_without_people=True, train_image_ids=[3, 5], val_image_ids=[5, 2], limit_val=1)
    data.setup()
    assert ids(data.train_dataloader()) == [3, 5]
    assert data.val_image_ids == [2]
    limited = module(root, limit_train=1, limit_val=3)
    limited.setup()
    assert len(limited.train_set) == 1
    assert limited.val_image_ids == [1, 2, 3]


def test_evaluation_alone_reads_no_training_data(root):
    (root / "annotations/person_keypoints_train2017.json").unlink()
    data = module(root)
    data.setup("validate")
    assert len(list(data.predict_dataloader())) == len(list(data.test_dataloader())) == 5
    with pytest.raises(RuntimeError, match="setup"):
        data.train_dataloader()


@pytest.mark.fault(9, "split without people", "error in training alone")
def test_a_split_without_people_is_an_error_in_training_only(root):
    with pytest.raises(ValueError, match=r"train2017\.json: no image to train on .*train_without_people=true"):
        module(root, train_image_ids=[2, 4]).setup()
    module(root, train_image_ids=[2, 4], val_image_ids=[5]).setup("validate")


@pytest.mark.parametrize("changes", [{"train_image_ids": [1, 77]}, {"val_image_ids": [77]}])
def test_unknown_image_ids_are_named(root, changes):
    with pytest.raises(AnnotationError, match="image id 77"):
        module(root, **changes).setup()


def test_no_folder_is_told():
    with pytest.raises(ValueError, match=r"data\.root is not set: .*data\.root=/datasets/coco"):
        CocoDataModule(DataConfig(), COCO).setup()


@pytest.mark.fault(5, "photograph missing, data.on_bad_image=skip", "error before training, or left out")
def test_missing_photographs_are_found_before_training(root):
    (root / "val2017/2.png").unlink()
    with pytest.raises(AnnotationError, match=r"image 2: its photograph .* is missing"):
        module(root).setup()
    data = module(root, on_bad_image=OnBadImage.skip)
    data.setup()
    assert data.val_image_ids == [1, 3, 4, 5]
    assert [complaint.id for complaint in data.val_set.annotations.complaints] == [2]
    module(root, val_image_ids=[1, 3]).setup()


def test_skipping_drops_damaged_photographs_before_evaluation(root):
    (root / "val2017/4.png").write_text("")
    data = module(root, on_bad_image=OnBadImage.skip)
    data.setup("validate")
    assert data.val_image_ids == [1, 2, 3, 5]


def test_normalisation_is_the_formula_and_zero_on_padding():
    images = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.1, 0.2, 0.3])
    result = normalize(images, torch.tensor([[6, 8], [4, 5]]), mean, std)
    assert result.dtype == torch.float32
    expected = (images.numpy().astype(np.float64) / 255 - np.array([0.4, 0.5, 0.6])[:, None, None]) / np.array(
        [0.1, 0.2, 0.3]
    )[:, None, None]
    np.testing.assert_allclose(result[0].numpy(), expected[0], atol=1e-5)
    np.testing.assert_allclose(result[1, :, :4, :5].numpy(), expected[1, :, :4, :5], atol=1e-5)
    assert (result[1, :, 4:] == 0).all()
    assert (result[1, :, :, 5:] == 0).all()


def test_batches_are_normalised_once(root):
    data = module(root)
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    assert batch.images.dtype == torch.uint8
    normalised = data.on_after_batch_transfer(batch, 0)
    assert normalised.images.dtype == torch.float32
    assert data.on_after_batch_transfer(normalised, 0).images is normalised.images


def test_letterboxes_are_square(root):
    data = module(root, resize=Resize.letterbox)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.meta.input_hw.tolist() == [[43, 64]] * 2


def test_crops_are_not_padded_to_the_side_of_a_letterbox(root):
    """Nor do they depend on the resize of whole images at all."""
    shapes = set()
    for resize in Resize:
        data = module(root, view=View.person, crop_size=[32, 64], resize=resize, size=640)
        data.setup("fit")
        shapes |= {next(iter(loader)).images.shape[2:] for loader in (data.train_dataloader(), data.val_dataloader())}
    assert shapes == {(32, 64)}


def matrices(loader):
    """Maps of one pass, by sample."""
    found = {}
    for batch in loader:
        found.update(zip(batch.meta.sample_id.tolist(), batch.meta.to_original, strict=True))
    return found


WILD = {"augmentation": AugmentationConfig(rotation=40), "train_without_people": True, "batch_size": 1}


def test_workers_and_epochs_draw_differently_and_any_number_of_workers_the_same(root):
    passes = {}
    for workers in (0, 2):
        data = module(root, num_workers=workers, **WILD)
        data.setup("fit")
        loader = data.train_dataloader()
        passes[workers] = [matrices(loader) for _ in range(2)]
        del loader
    first, second = passes[2]
    distinct = {tuple(matrix.flatten().tolist()) for drawn in passes[2] for matrix in drawn.values()}
    assert len(distinct) == 10
    for sample in range(5):
        assert not torch.equal(first[sample], second[sample])
        for epoch in range(2):
            assert torch.equal(passes[0][epoch][sample], passes[2][epoch][sample])


def test_ranks_share_the_samples_and_draw_each_as_one_process_would(root):
    """Whatever rank or worker a sample falls to, it is augmented alike; no two are."""

    def drawn(rank, world, workers=0):
        data = module(root, num_workers=workers, **WILD)
        data.setup("fit")
        data.trainer = SimpleNamespace(world_size=world, global_rank=rank)
        return matrices(data.train_dataloader())

    alone = drawn(0, 1)
    ranks = [drawn(rank, 2, workers=rank) for rank in range(2)]
    assert {*ranks[0], *ranks[1]} == {*alone} == {0, 1, 2, 3, 4}
    for rank in ranks:
        for sample, matrix in rank.items():
            assert torch.equal(matrix, alone[sample])
    assert len({tuple(matrix.flatten().tolist()) for matrix in alone.values()}) == 5


def test_plain_loaders_draw_differently_in_each_worker_too(root):
    """Without the epoch sampler: the worker's own seed, from ``start_worker``."""
    from torch.utils.data import DataLoader

    from datamodules.coco import start_worker
    from datamodules.collate import Collate

    data = module(root, train_image_ids=[1], **WILD)
    data.setup("fit")
    loader = DataLoader(
        data.train_set, sampler=[0] * 6, num_workers=2, collate_fn=Collate(32), worker_init_fn=start_worker
    )
    draws = {tuple(batch.meta.to_original.flatten().tolist()) for _ in range(2) for batch in loader}
    assert len(draws) == 12


def test_errors_in_workers_are_one_line(root):
    (root / "val2017/4.png").write_text("")
    data = module(root, num_workers=1)
    data.setup("validate")
    batches = iter(data.val_dataloader())
    with pytest.raises(ValueError, match=r"^[^\n]*4\.png: not an image that can be read; replace the file$"):
        list(batches)
    batches._shutdown_workers()  # left to the garbage collector this takes five seconds


@pytest.mark.fault(5, "photograph truncated, skipped in a worker", "replaced and counted")
def test_skips_in_workers_are_counted(root):
    path = root / "train2017/3.png"
    path.write_bytes(path.read_bytes()[:-40])
    data = module(root, num_workers=1, on_bad_image=OnBadImage.skip)
    data.setup("fit")
    assert ids(data.train_dataloader()) == [1, 1]
    assert data.train_set.annotations.image_ids[data.train_set.skipped.numpy()].tolist() == [3]


@pytest.mark.fault(3, "dropped and repaired entries of a run", "told once; counted for the record")
def test_what_was_dropped_and_repaired_is_told_and_kept_for_the_record(write_coco, person):
    people = [person(1), person(2, num_keypoints=3), person(3, keypoints=[0])]
    root = write_coco(people, dict.fromkeys((1, 2), (40, 60)))
    (root / "val2017/2.png").unlink()
    data = module(root, on_bad_image=OnBadImage.skip, on_bad_annotation=OnBadAnnotation.drop)
    with pytest.warns(UserWarning, match=r"val data: 1 images dropped, 1 annotations dropped, 1 repaired; named by"):
        data.setup("fit")
    assert data.faults == {
        "train": {"images_dropped": 0, "annotations_dropped": 1, "repaired": 1, "photographs_skipped": 0},
        "val": {"images_dropped": 1, "annotations_dropped": 1, "repaired": 1, "photographs_skipped": 0},
    }


def test_a_lightning_epoch(root):
    """Lightning keeps the sampler, sets its epoch, transfers and normalises."""
    import pytorch_lightning as pl

    class Probe(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.epochs, self.seen = [], []

        def training_step(self, batch, index):
            assert batch.images.dtype == torch.float32
            self.epochs.append(self.trainer.train_dataloader.sampler.epoch - 1)
            self.seen.append(batch.meta.to_original.sum().item())
            return self.weight * batch.images.mean()

        def validation_step(self, batch, index):
            assert batch.images.dtype == torch.float32

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    probe = Probe()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(probe, datamodule=module(root, **WILD))
    assert probe.epochs == [0] * 5 + [1] * 5
    assert len(set(probe.seen)) == 10


def test_a_real_coco_from_end_to_end(coco_mini):
    data = module(coco_mini, num_workers=1, limit_train=6, limit_val=4, instance_masks=True)
    data.setup()
    content = json.loads(data.val_annotation_file.read_text())
    assert data.val_image_ids == [image["id"] for image in content["images"][:4]]
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch.images.shape[2] % 32 == batch.images.shape[3] % 32 == 0
        assert batch.persons.visibility.any(dim=2).any(dim=1).all()
        labelled = batch.persons.visibility > 0
        limit = batch.meta.input_hw.flip(1)[:, None, None]
        assert ((batch.persons.keypoints >= 0) & (batch.persons.keypoints < limit))[labelled].all()
        assert batch.instance_masks[batch.persons.is_real].flatten(1).any(dim=1).float().mean() > 0.8
