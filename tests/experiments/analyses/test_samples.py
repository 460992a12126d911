"""Samples come one by one, with their pictures, as the evaluation sees them."""

from argparse import Namespace

import pytest
import torch

from datamodules.config import DataConfig, View
from datamodules.skeleton import COCO
from experiments.analyses.samples import output_folder, shown_samples, shows_a_labelled_person
from experiments.checkpoint import Trained
from experiments.config import ConfigError, RunConfig


@pytest.fixture
def trained(write_coco, person, tmp_path):
    """Four photographs; nobody on the second is labelled. No network is needed to look at them."""
    nobody = {"keypoints": [0] * 51, "num_keypoints": 0}
    people = [person(number, image_id=number, **(nobody if number == 2 else {})) for number in (1, 2, 3, 4)]
    root = write_coco(people, dict.fromkeys((1, 2, 3, 4), (40, 60)))
    data = DataConfig(root=str(root), view=View.image, size=64, val_batch_size=3, num_workers=0)
    return Trained(RunConfig(paper="ssa", data=data), torch.nn.Identity(), COCO, tmp_path / "best.ckpt")


def test_the_first_that_can_be_shown(trained):
    shown = shown_samples(trained, 2, shows_a_labelled_person, "a labelled person")
    assert [int(sample.batch.meta.image_id) for sample in shown] == [1, 3]
    for sample in shown:
        assert len(sample.batch.images) == len(sample.batch.ignore) == len(sample.batch.persons.boxes) == 1
        assert sample.batch.images.dtype == torch.float32
        assert sample.image.shape == (*sample.batch.meta.input_hw[0].tolist(), 3)
        assert sample.image.std() > 20
    assert len(shown_samples(trained, 9, shows_a_labelled_person, "a labelled person")) == 3


def test_nothing_to_show_is_told(trained):
    with pytest.raises(ConfigError, match=r"val2017\.json: a unicorn is not there to be shown"):
        shown_samples(trained, 2, lambda batch: False, "a unicorn")
    with pytest.raises(ConfigError, match="--images 0"):
        shown_samples(trained, 0, shows_a_labelled_person, "a labelled person")


def test_pictures_go_beside_the_checkpoint_or_where_they_are_told_to(trained, tmp_path):
    assert output_folder(Namespace(out=None), trained) == tmp_path / "analysis"
    wanted = tmp_path / "some" / "where"
    assert output_folder(Namespace(out=str(wanted)), trained) == wanted
    assert wanted.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file: cannot be made a folder \(File exists\); set --out"):
        output_folder(Namespace(out=str(tmp_path / "file")), trained)
