"""python python_hornet.py libhornet_backbone.so: gnConv and GlobalLocalFilter as one writes them in
PyTorch, before and after use_hornet_ops(), the function to paste into your own code."""
import sys, torch
from torch import nn
from torch.nn.functional import interpolate
from torch.utils.benchmark import Timer

def use_hornet_ops(model):  # for the authors' classes, known by the names of their parts
    def gnconv(self, x, *_):
        p, q = self.proj_in(x).tensor_split((self.proj_out.in_channels >> len(self.pws),), 1)
        weights, biases = [f.weight for f in self.pws], [f.bias for f in self.pws]
        p = torch.ops.hornet.gnconv(p, self.dwconv(q), weights, biases, getattr(self, "scale", 1.0))
        return self.proj_out(p)
    def global_local_filter(self, x):
        x1, x2 = self.pre_norm(x).chunk(2, 1)
        x2 = torch.ops.hornet.global_filter(x2, self.complex_weight)
        return self.post_norm(torch.stack((self.dw(x1), x2), 2).flatten(1, 2))
    for part in model.modules():
        if hasattr(part, "pws"): type(part).forward = gnconv
        if hasattr(part, "complex_weight"): type(part).forward = global_local_filter

class ChannelNorm(nn.LayerNorm):
    def forward(self, x): return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
class GlobalLocalFilter(nn.Module):
    def __init__(self, dim, h=14, w=8):
        super().__init__()
        self.dw = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, bias=False, groups=dim // 2)
        self.complex_weight = nn.Parameter(torch.randn(dim // 2, h, w, 2))
        self.pre_norm, self.post_norm = ChannelNorm(dim, eps=1e-6), ChannelNorm(dim, eps=1e-6)
    def forward(self, x):
        x1, x2 = self.pre_norm(x).chunk(2, 1)
        X, K = torch.fft.rfft2(x2.float(), norm="ortho"), self.complex_weight.permute(3, 0, 1, 2)
        K = torch.complex(*interpolate(K, X.shape[2:], mode="bilinear", align_corners=True))
        x2 = torch.fft.irfft2(X * K, s=x.shape[2:], norm="ortho")
        return self.post_norm(torch.stack((self.dw(x1), x2), 2).flatten(1, 2))
class GnConv(nn.Module):
    def __init__(self, dim, order, mixer=lambda c: nn.Conv2d(c, c, 7, padding=3, groups=c)):
        super().__init__()
        self.dims, self.scale = [dim >> k for k in reversed(range(order))], 1 / 3
        self.proj_in, self.proj_out = nn.Conv2d(dim, 2 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.dwconv = mixer(sum(self.dims))
        self.pws = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(self.dims, self.dims[1:]))
    def forward(self, x):
        p, q = self.proj_in(x).split((self.dims[0], sum(self.dims)), 1)
        first, *gates = (self.dwconv(q) * self.scale).split(self.dims, 1)
        p = p * first
        for f, gate in zip(self.pws, gates): p = f(p) * gate
        return self.proj_out(p)
def measure(x, model):
    timer = Timer("model(x)", globals=dict(x=x, model=model), num_threads=torch.get_num_threads())
    with torch.inference_mode(): return model(x), 1e3 * timer.timeit(10).mean
if __name__ == "__main__":
    torch.ops.load_library(sys.argv[1])
    cases = [(torch.randn(1, c, h, w), GnConv(c, *options)) for c, h, w, *options in (
        (64, 200, 304, 2), (256, 50, 76, 4), (256, 50, 76, 4, GlobalLocalFilter), (8, 2, 2, 2))]
    plain = [measure(*case) for case in cases]
    for _, model in cases: use_hornet_ops(model)
    for case, (y, before) in zip(cases, plain):
        z, after = measure(*case)
        print(f"{[*y.shape]}: difference {(y - z).abs().max():.1e}, {before:.3f} ms, fused {after:.3f} ms")
