import pytest

from lightning_modules.inspose.config import Config


def test_the_defaults_are_the_papers_final_model() -> None:
    config = Config()
    config.validate()
    assert (config.disk_offset, config.heatmap, config.bbox_head) == (True, True, False)
    assert (config.kpnet_depth, config.map_stride, config.kpnet_channels) == (3, 8, 8)
    assert (config.center_radius, config.score_threshold) == (1.5, 0.1)
    assert (config.max_candidates, config.max_detections) == (500, 100)
    assert set(vars(config.loss_weights).values()) == {1.0}


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("kpnet_depth", 7, "1 to 4"),
        ("kpnet_depth", 0, "1 to 4"),
        ("map_stride", 3, "2, 4, 8 or 16"),
        ("size_limits", [64.0, 128.0], "four"),
        ("size_limits", [64.0, 32.0, 256.0, 512.0], "rising"),
        ("fpn_channels", 0, "above 0"),
        ("tower_depth", -1, "negative"),
        ("nms_threshold", 1.5, "between 0 and 1"),
        ("scales", [800, 20], "64"),
    ],
)
def test_impossible_values_name_the_key_and_what_is_possible(key: str, value: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        Config(**{key: value}).validate()
    assert f"model.{key}={value}" in str(caught.value)
    assert "\n" not in str(caught.value)
