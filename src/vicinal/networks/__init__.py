"""Networks: the classifiers that vicinal trains.

Every network takes a batch to logits (B, K). Those for images have stages named `layer1`, `layer2`, ..., where manifold
mixup can mix.
"""

from vicinal.networks.autoencoder import ConvolutionalAutoencoder
from vicinal.networks.catalogue import NETWORKS, make_network
from vicinal.networks.lenet import LeNet5
from vicinal.networks.mlp import MLP
from vicinal.networks.normalized import Normalized
from vicinal.networks.residual import PreActResNet18, SmallResNet, WideResNet

__all__ = [
    "MLP",
    "NETWORKS",
    "ConvolutionalAutoencoder",
    "LeNet5",
    "Normalized",
    "PreActResNet18",
    "SmallResNet",
    "WideResNet",
    "make_network",
]
