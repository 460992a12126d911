import torch

from lightning_modules.shared.precision import full_precision


def test_products_stay_in_float32_under_autocast() -> None:
    a = torch.randn(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision(a.device):
            assert (a @ a).dtype == torch.float32


def test_the_meta_device_is_no_obstacle() -> None:
    with full_precision(torch.device("meta")):
        assert torch.empty(2, device="meta").dtype == torch.float32
