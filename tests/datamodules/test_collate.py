import torch

from datamodules.collate import Collate
from datamodules.contracts import Meta, Persons
from datamodules.image_dataset import Sample


def sample(height, width, people, number, masks=False):
    quarter = (-(-height // 4), -(-width // 4))
    return Sample(
        image=torch.full((3, height, width), 9, dtype=torch.uint8),
        persons=Persons(
            keypoints=torch.full((people, 17, 2), float(number)),
            visibility=torch.full((people, 17), 2, dtype=torch.uint8),
            boxes=torch.full((people, 4), 1.5),
            areas=torch.full((people,), 2.5),
            is_real=torch.ones(people, dtype=torch.bool),
        ),
        ignore=torch.zeros(quarter, dtype=torch.bool),
        instance_masks=torch.ones(people, *quarter, dtype=torch.bool) if masks else None,
        meta=Meta(
            sample_id=torch.tensor(number),
            image_id=torch.tensor(100 + number),
            original_hw=torch.tensor((height, width)),
            input_hw=torch.tensor((height, width)),
            to_original=torch.eye(2, 3),
            detection_score=torch.tensor(1.0),
        ),
    )


def test_padding_lies_right_and_below():
    batch = Collate(pad_multiple=32)([sample(33, 50, 2, 0, masks=True), sample(20, 70, 3, 1, masks=True)])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.images.dtype == torch.uint8
    assert batch.images[0, :, :33, :50].eq(9).all()
    assert batch.images[0].sum() == 9 * 3 * 33 * 50
    assert batch.ignore.shape == (2, 16, 24)
    assert not batch.ignore[0, :9, :13].any()
    assert batch.ignore[0].sum() == 16 * 24 - 9 * 13
    assert batch.instance_masks.shape == (2, 3, 16, 24)
    assert batch.instance_masks[0].sum() == 2 * 9 * 13
    assert batch.persons.is_real.tolist() == [[True, True, False], [True, True, True]]
    assert batch.persons.visibility[0, 2].tolist() == [0] * 17
    assert batch.persons.keypoints[1].eq(1).all()
    assert batch.persons.areas.tolist() == [[2.5, 2.5, 0], [2.5, 2.5, 2.5]]
    assert batch.meta.sample_id.tolist() == [0, 1]
    assert batch.meta.input_hw.tolist() == [[33, 50], [20, 70]]
    assert batch.meta.to_original.shape == (2, 2, 3)
    assert batch.meta.detection_score.dtype == torch.float32


def test_a_batch_without_people_has_room_for_one():
    batch = Collate(pad_multiple=4)([sample(8, 8, 0, 0), sample(8, 8, 0, 1)])
    assert batch.persons.keypoints.shape == (2, 1, 17, 2)
    assert not batch.persons.is_real.any()
    assert batch.instance_masks is None


def test_least_size_and_no_padding():
    assert Collate(pad_multiple=32, min_size=100)([sample(8, 70, 1, 0)]).images.shape == (1, 3, 128, 128)
    exact = Collate(pad_multiple=32)([sample(64, 32, 1, 0)])
    assert exact.images.shape == (1, 3, 64, 32)
    assert not exact.ignore.any()
    assert Collate(pad_multiple=1)([sample(7, 5, 1, 0)]).ignore.shape == (1, 2, 2)


def test_pixels_side_by_side_become_planes():
    generator = torch.Generator().manual_seed(0)
    shapes = [(33, 50), (1, 1), (20, 70), (7, 1), (64, 96)]
    pixels = [torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8) for shape in shapes]
    views = [
        sample(*shape, 0, n)._replace(image=image.permute(2, 0, 1))
        for n, (shape, image) in enumerate(zip(shapes, pixels, strict=True))
    ]
    planes = [view._replace(image=view.image.contiguous()) for view in views]
    batch = Collate(pad_multiple=32)(views)
    assert batch.images.is_contiguous()
    assert batch.images.equal(Collate(pad_multiple=32)(planes).images)
    for row, image, (height, width) in zip(batch.images, pixels, shapes, strict=True):
        assert row[:, :height, :width].permute(1, 2, 0).equal(image)
        assert row.sum() == image.sum()
