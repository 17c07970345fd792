"""Networks against published sizes, plain re-computations, other libraries, and what every network promises."""

import importlib
import re
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from vicinal.networks import (
    NETWORKS,
    LeNet5,
    Normalized,
    PreActResNet18,
    SmallResNet,
    WideResNet,
    make_network,
)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "n_classes", "channels", "size", "parameters"),
    [
        # LeCun et al. 1998 in its modern form, as counted for PyTorch's and Keras' versions.
        ("lenet-5", 10, 1, 32, 61_706),
        ("lenet-5", 10, 1, 28, 61_706),
        # pytorch-cifar (github.com/kuangliu/pytorch-cifar): models/resnet.py and models/preact_resnet.py.
        ("resnet-18", 10, 3, 32, 11_173_962),
        ("resnet-34", 10, 3, 32, 21_282_122),
        ("preact-resnet-18", 10, 3, 32, 11_171_146),
        # Zagoruyko and Komodakis 2016, Table 4: 36.5 million; github.com/szagoruyko/wide-residual-networks.
        ("wide-resnet-28-10", 10, 3, 32, 36_479_194),
        ("wide-resnet-28-10", 100, 3, 32, 36_536_884),
    ],
)
def test_sizes_are_the_published_ones(name, n_classes, channels, size, parameters):
    assert count(make_network(name, n_classes, channels, size)) == parameters


def test_wide_resnets_of_other_depths_and_widths_have_the_published_sizes():
    # Zagoruyko and Komodakis 2016, Tables 3 and 4, in millions of parameters for CIFAR-10.
    for depth, width, millions in [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (40, 8, 35.7),
        (16, 8, 11.0),
        (22, 8, 17.2),
    ]:
        with torch.device("meta"):
            found = count(WideResNet(10, depth=depth, width=width)) / 1e6
        assert found == pytest.approx(millions, abs=0.06), (depth, width)


SMALL = ("lenet-5", "small-resnet", "resnet-18", "preact-resnet-18")


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_logits_for_every_kind_of_image(name, channels, size):
    logits = make_network(name, 7, channels, size)(torch.rand(2, channels, size, size))
    assert logits.shape == (2, 7)
    assert logits.dtype == torch.float32
    assert bool(logits.isfinite().all())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - set(SMALL)))
def test_logits_of_the_large_networks(name):
    for channels, size in [(1, 28), (3, 64)]:
        assert make_network(name, 7, channels, size)(torch.rand(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [*((name, 3, 32) for name in SMALL), ("torchvision:resnet18", 1, 32), ("timm:resnet18", 1, 32)],
)
def test_the_seed_decides_the_weights_and_torchs_state_stays(name, channels, size):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a = make_network(name, 4, channels, size, seed=1).state_dict()
    assert torch.equal(torch.rand(3), expected)
    b = make_network(name, 4, channels, size, seed=1).state_dict()
    c = make_network(name, 4, channels, size, seed=2).state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)
    drawn = [key for key in a if a[key].is_floating_point() and a[key].ndim > 1]
    assert not any(torch.equal(a[key], c[key]) for key in drawn)


@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_reaches_every_parameter(name):
    network = make_network(name, 3)
    functional.cross_entropy(network(torch.rand(4, 3, 32, 32)), torch.arange(4) % 3).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_manifold_mixup_finds_the_stages(name):
    stages = [child for child, _ in make_network(name, 3).named_children() if child.startswith("layer")]
    assert stages == [f"layer{i + 1}" for i in range(len(stages))]
    assert len(stages) >= 3


def normal(x, state, name):
    return functional.batch_norm(
        x,
        state[f"{name}.running_mean"],
        state[f"{name}.running_var"],
        state[f"{name}.weight"],
        state[f"{name}.bias"],
    )


def shaken(network: nn.Module) -> dict[str, torch.Tensor]:
    """Give batch normalisation other numbers than 0 and 1, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.double().eval().state_dict()


def test_the_small_resnet_is_what_its_formula_says():
    network = make_network("small-resnet", 5, seed=3)
    state = shaken(network)
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    h = functional.relu(normal(functional.conv2d(x, state["conv1.weight"], padding=1), state, "bn1"))
    for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2)):
        name = f"{layer}.0"
        first = functional.conv2d(h, state[f"{name}.conv1.weight"], stride=stride, padding=1)
        second = functional.conv2d(
            functional.relu(normal(first, state, f"{name}.bn1")), state[f"{name}.conv2.weight"], padding=1
        )
        if stride == 2:
            h = functional.conv2d(h, state[f"{name}.shortcut.0.weight"], stride=2)
            h = normal(h, state, f"{name}.shortcut.1")
        h = functional.relu(h + normal(second, state, f"{name}.bn2"))
    logits = functional.adaptive_avg_pool2d(h, 1)[..., 0, 0] @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(network(x), logits)


@pytest.mark.parametrize(
    ("network", "blocks", "strides", "last"),
    [
        (PreActResNet18(5), 2, (1, 2, 2, 2), False),
        (WideResNet(5, depth=16, width=2), 2, (1, 2, 2), True),
    ],
    ids=["preact-resnet-18", "wide-resnet-16-2"],
)
def test_pre_activation_networks_are_what_their_formula_says(network, blocks, strides, last):
    state = shaken(network)
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    h = functional.conv2d(x, state["conv1.weight"], padding=1)
    for layer, stage_stride in enumerate(strides, start=1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", stage_stride if block == 0 else 1
            a = functional.relu(normal(h, state, f"{name}.bn1"))
            inner = functional.conv2d(a, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = functional.relu(normal(inner, state, f"{name}.bn2"))
            inner = functional.conv2d(inner, state[f"{name}.conv2.weight"], padding=1)
            shortcut = state.get(f"{name}.shortcut.weight")
            h = inner + (h if shortcut is None else functional.conv2d(a, shortcut, stride=stride))
    if last:
        h = functional.relu(normal(h, state, "bn"))
    torch.testing.assert_close(network(x), functional.linear(h.mean((2, 3)), state["fc.weight"], state["fc.bias"]))


def test_lenet_is_what_its_formula_says():
    network = LeNet5(10, size=28)
    convolution, dense = functional.conv2d, functional.linear
    (w1, b1, w2, b2, w3, b3, w4, b4, w5, b5) = network.parameters()
    x = torch.rand(3, 1, 28, 28)
    h = functional.max_pool2d(functional.relu(convolution(functional.pad(x, (2, 2, 2, 2)), w1, b1)), 2)
    h = functional.max_pool2d(functional.relu(convolution(h, w2, b2)), 2).flatten(1)
    h = functional.relu(dense(functional.relu(dense(h, w3, b3)), w4, b4))
    torch.testing.assert_close(network(x), dense(h, w5, b5))


def test_the_stem_is_all_that_differs_from_torchvisions_resnet():
    ours = make_network("resnet-18", 10)
    theirs = torchvision.models.resnet18(num_classes=10)
    assert {k for k, v in ours.state_dict().items() if v.shape != theirs.state_dict()[k].shape} == {"conv1.weight"}
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert ours.eval().layer1(torch.rand(1, 64, 32, 32)).shape[-1] == 32


def test_initial_weights_of_residual_networks_have_he_variance():
    for network in (make_network("small-resnet", 3), WideResNet(3, depth=10, width=4), make_network("resnet-18", 3)):
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
                variance = 2 / (module.out_channels * module.kernel_size[0] ** 2)
                assert float(module.weight.detach().var()) == pytest.approx(variance, rel=0.2)


def test_a_small_resnet_learns_on_a_cpu():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 2
    x = torch.rand(64, 1, 8, 8, generator=generator)
    x[y == 1, :, :, :4] += 0.3
    network = make_network("small-resnet", 2, channels=1, size=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(15):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    assert float((network(x).argmax(1) == y).double().mean()) > 0.95


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision:googlenet", "torchvision:mobilenet_v3_small", "torchvision:squeezenet1_0", "torchvision:swin_t"),
        *("timm:resnet18.a1_in1k", "timm:vit_tiny_patch16_224"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_other_libraries(name, channels):
    pytest.importorskip(name.partition(":")[0])
    network = make_network(name, 5, channels, size=64)
    assert network.training
    assert network(torch.rand(2, channels, 64, 64)).shape == (2, 5)


def test_what_comes_from_a_library_is_the_librarys():
    ours = make_network("torchvision:resnet18", 5, seed=4).state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        theirs = torchvision.models.resnet18(num_classes=5).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_normalized_is_torchvisions_normalisation():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    x = torch.rand(4, 3, 8, 8)
    expected = torchvision.transforms.functional.normalize(x, list(mean), list(std))
    network = Normalized(nn.Identity(), mean, std)
    torch.testing.assert_close(network(x), expected)
    assert network.mean.shape == network.std.shape == (3, 1, 1)
    assert not list(network.parameters())
    torch.testing.assert_close(Normalized(nn.Identity(), 0.5, 0.25)(x), (x - 0.5) / 0.25)
    assert network.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_network("resnet18", 10), ValueError, "did you mean 'resnet-18', 'torchvision:resnet18'?"),
        (lambda: make_network("wide-resnet", 10), ValueError, "did you mean 'wide-resnet-28-10'?"),
        (lambda: make_network("vgg-nothing", 10), ValueError, "there are 'lenet-5', 'small-resnet'"),
        (
            lambda: make_network("torchvision:resnt18", 10),
            ValueError,
            "of torchvision, got 'resnt18'; did you mean 'resnet18'",
        ),
        (
            lambda: make_network("torchvision:r3d_18", 10),
            ValueError,
            "must be a classifier of torchvision, got 'r3d_18'",
        ),
        (lambda: make_network("timm:resnt18", 10), ValueError, "of timm, got 'resnt18'; did you mean 'resnet18'"),
        (lambda: make_network("timm:hf-hub:a/b", 10), ValueError, "of timm, got 'hf-hub:a/b'"),
        (
            lambda: make_network("torchvision:alexnet", 10),
            ValueError,
            "`size` must suit .*alexnet', which does not take images of 3 x 32 x 32",
        ),
        (
            lambda: make_network("torchvision:vit_b_16", 10, size=28),
            ValueError,
            "does not take images of 3 x 28 x 28 .*patch size",
        ),
        (
            lambda: make_network("timm:vit_tiny_patch16_224", 10, size=8),
            ValueError,
            "does not take images of 3 x 8 x 8",
        ),
        (
            lambda: make_network("timm:xcit_nano_12_p16_224", 10, size=30),
            ValueError,
            "does not take images of 3 x 30 x 30",
        ),
        (lambda: make_network("small-resnet", 0), ValueError, "`n_classes` must be at least 1, got 0"),
        (lambda: make_network("small-resnet", 2, channels=0), ValueError, "`channels` must be at least 1, got 0"),
        (lambda: make_network("small-resnet", 2, size=0), ValueError, "`size` must be at least 1, got 0"),
        (lambda: make_network("lenet-5", 10, size=11), ValueError, "`size` must be at least 12 for LeNet-5, got 11"),
        (lambda: make_network("small-resnet", 2, seed=-1), ValueError, "`seed` must be at least 0, got -1"),
        (lambda: SmallResNet(2, widths=()), ValueError, "`widths` must be at least 1, got 0"),
        (lambda: SmallResNet(2, blocks=0), ValueError, "`blocks` must be at least 1, got 0"),
        (lambda: PreActResNet18(2, channels=0), ValueError, "`channels` must be at least 1, got 0"),
        (lambda: WideResNet(2, depth=29), ValueError, r"`depth` must be 6 n \+ 4 with n = 1, 2, ..., got 29; 28 has"),
        (lambda: WideResNet(2, width=0), ValueError, "`width` must be at least 1, got 0"),
        (lambda: Normalized(nn.Identity(), [0.5], [0.5, 0.5]), ValueError, "one number for each channel, got 1 and 2"),
        (lambda: Normalized(nn.Identity(), [0.5], [0.0]), ValueError, "`std` must be above 0.* a constant channel"),
        (
            lambda: Normalized(nn.Identity(), [0.5] * 3, [0.5] * 3)(torch.zeros(1, 1, 2, 2)),
            ValueError,
            "`x` must have 3 channels",
        ),
        (
            lambda: Normalized(nn.Identity(), 0.5, 0.5)(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)),
            TypeError,
            r"give x.float\(\) / 255",
        ),
    ],
)
def test_a_mistake_is_named_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert not re.search("\n", str(caught.value))


def test_a_missing_library_names_its_pip_command(monkeypatch):
    def missing(name, *rest):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        ImportError, match=r"`torchvision` is not installed; install it with: pip install 'vicinal\[images\]'"
    ):
        make_network("resnet-18", 10)
    with pytest.raises(ImportError, match=r"pip install 'vicinal\[timm\]'"):
        make_network("timm:resnet18", 10)
    with pytest.raises(ValueError, match="did you mean 'resnet-18'"):
        make_network("resnet18", 10)


@pytest.mark.slow
def test_importing_loads_no_extra():
    code = (
        "import sys, vicinal.networks, vicinal.evaluation as e; e.corruption_accuracy, e.image_distance, e.local_linearity;"
        "assert not {'torchvision', 'timm', 'torchmetrics', 'torch_fidelity', 'foolbox'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
