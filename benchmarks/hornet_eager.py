"""HorNet (arXiv 2207.14284) in plain PyTorch, formula by formula: what the library is compared with.

Activations are NCHW, layer norm over channels is written out in elementwise operations, the learned
filter is interpolated in every forward, the MLP works on a permuted map: the algorithm as the paper's
code computes it, op by op, and nothing made faster. Names of parameters are the authors', so
their checkpoints load.

    model = hornet_eager.load("hornet_tiny_gf.pth")      # a backbone, a classifier, or a dense model
    feat0, feat1, feat2, feat3 = model(images)           # a classifier's stages have no norm
"""
import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-6


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the channels of [N,C,H,W]."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        variance = centred.pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * (centred / torch.sqrt(variance + EPS)) + self.bias[:, None, None]


class GlobalLocalFilter(nn.Module):
    """Half of the channels through a 3x3 depthwise convolution, half through a filter as large as the
    map, a product of spectra; the two interleaved."""

    def __init__(self, channels, height, width):
        super().__init__()
        half = channels // 2
        self.dw = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.complex_weight = nn.Parameter(torch.randn(half, height, width, 2) * 0.02)
        self.pre_norm = ChannelNorm(channels)
        self.post_norm = ChannelNorm(channels)

    def spectrum_weight(self, rows, columns):
        weight = self.complex_weight
        if weight.shape[1:3] != (rows, columns):
            planes = weight.permute(3, 0, 1, 2)  # real and imaginary: two images of C/2 channels
            planes = F.interpolate(planes, size=(rows, columns), mode="bilinear", align_corners=True)
            weight = planes.permute(1, 2, 3, 0)
        return torch.view_as_complex(weight.contiguous())

    def forward(self, x):
        height, width = x.shape[2:]
        local, globally = self.pre_norm(x).chunk(2, dim=1)
        local = self.dw(local)
        spectrum = torch.fft.rfft2(globally.float(), norm="ortho")
        spectrum = spectrum * self.spectrum_weight(*spectrum.shape[2:])
        globally = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
        mixed = torch.stack((local, globally.to(local.dtype)), dim=2)
        return self.post_norm(mixed.reshape(x.shape))


class GnConv(nn.Module):
    """p_(k+1) = f_k(p_k) * q_k / 3: a gated convolution for each order."""

    def __init__(self, channels, order, filter_size=None):
        super().__init__()
        self.widths = [channels >> k for k in reversed(range(order))]
        mixed = sum(self.widths)
        self.proj_in = nn.Conv2d(channels, 2 * channels, 1)
        self.dwconv = (GlobalLocalFilter(mixed, *filter_size) if filter_size
                       else nn.Conv2d(mixed, mixed, 7, padding=3, groups=mixed))
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.pws = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(self.widths, self.widths[1:]))

    def forward(self, x):
        p, q = self.proj_in(x).split((self.widths[0], sum(self.widths)), dim=1)
        first, *gates = (self.dwconv(q) * (1 / 3)).split(self.widths, dim=1)
        p = p * first
        for pointwise, gate in zip(self.pws, gates):
            p = pointwise(p) * gate
        return self.proj_out(p)


class Block(nn.Module):
    """x += gamma1 * gnConv(norm1(x));  x += gamma2 * MLP(norm2(x))"""

    def __init__(self, channels, order, filter_size, layer_scale):
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.gnconv = GnConv(channels, order, filter_size)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma1 = nn.Parameter(torch.ones(channels)) if layer_scale else None
        self.gamma2 = nn.Parameter(torch.ones(channels)) if layer_scale else None

    def forward(self, x):
        mixed = self.gnconv(self.norm1(x))
        x = x + (mixed if self.gamma1 is None else self.gamma1[:, None, None] * mixed)
        hidden = self.pwconv2(F.gelu(self.pwconv1(self.norm2(x.permute(0, 2, 3, 1)))))
        hidden = hidden if self.gamma2 is None else self.gamma2 * hidden
        return x + hidden.permute(0, 3, 1, 2)


class HorNet(nn.Module):
    """Four stages; their outputs at strides 4, 8, 16, 32, each with a norm of its own if `dense`."""

    def __init__(self, base_dim=64, depths=(2, 3, 18, 2), orders=(2, 3, 4, 5), filters=(None,) * 4, dense=True,
                 layer_scale=True):
        super().__init__()
        dims = [base_dim << stage for stage in range(4)]
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0]))])
        for a, b in zip(dims, dims[1:]):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, order, size, layer_scale) for _ in range(depth)))
            for dim, depth, order, size in zip(dims, depths, orders, filters))
        self.dense = dense
        if dense:
            for stage, dim in enumerate(dims):
                self.add_module(f"norm{stage}", ChannelNorm(dim))

    def forward(self, images):
        features, x = [], images
        for stage in range(4):
            x = self.stages[stage](self.downsample_layers[stage](x))
            features.append(getattr(self, f"norm{stage}")(x) if self.dense else x)
        return features


FILTERS = {"7x7": (None,) * 4, "gf": (None, None, (14, 8), (7, 4))}
WIDTHS = {"tiny": 64, "small": 96, "base": 128, "large": 192}


def variant(name, seed=1):
    """The dense backbone hornet_{tiny,small,base,large}_{7x7,gf} with random weights that leave no part
    of it close to zero."""
    _, width, mixer = name.split("_")
    model = HorNet(WIDTHS[width], filters=FILTERS[mixer]).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.uniform_(0.1, 0.5, generator=generator)
            else:
                parameter.normal_(0, 1 / math.sqrt(parameter[0].numel()), generator=generator)
    return model


def backbone_tensors(checkpoint):
    """The tensors of a backbone in what torch.load gives, without their owner's name."""
    state = checkpoint.get("model", checkpoint.get("state_dict", checkpoint))
    if any(key.startswith("backbone.") for key in state):
        state = {key[len("backbone."):]: value for key, value in state.items() if key.startswith("backbone.")}
    return {key: value for key, value in state.items() if not key.startswith(("norm.", "head."))}


def from_tensors(state):
    """A HorNet of the widths, depths, orders and filters that the tensors have, with them in it."""
    depths, orders, filters = [], [], []
    for stage in range(4):
        first = f"stages.{stage}.0.gnconv."
        depths.append(sum(key.startswith(f"stages.{stage}.") and key.endswith(".norm1.weight") for key in state))
        orders.append(1 + sum(key.startswith(first + "pws.") and key.endswith(".weight") for key in state))
        weight = state.get(first + "dwconv.complex_weight")
        filters.append(None if weight is None else tuple(weight.shape[1:3]))
    model = HorNet(state["downsample_layers.0.0.weight"].shape[0], depths, orders, filters,
                   dense="norm0.weight" in state, layer_scale="stages.0.0.gamma1" in state)
    model.load_state_dict(state)
    return model.eval()


def load(path):
    """From a checkpoint as torch.save wrote it; of code, only the authors' options are let in."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return from_tensors(backbone_tensors(checkpoint))
