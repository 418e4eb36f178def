"""Makes the small checkpoints of this folder, good and bad ones, with torch 2.11 and safetensors.

The tests read the files as they are committed; this script says what is in them.
Run it here: python make.py
"""

import argparse
import collections
import datetime
import functools
import io
import os
import pickle
import zipfile

import numpy
import safetensors.torch
import torch

OrderedDict = collections.OrderedDict
DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


def arange(*shape, start=0.0):
    count = int(numpy.prod(shape))
    return (torch.arange(count, dtype=torch.float32) + start).reshape(shape)


def state_dict():
    return OrderedDict([
        ("conv.weight", arange(2, 3)),
        ("conv.bias", arange(2, start=10)),
        ("bn.num_batches_tracked", torch.tensor(7)),
    ])


class Call:
    """Pickles as the call of a function, which is how files become hostile."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def view(numel, offset, shape, strides):
    """A tensor whose extent need not fit its storage."""
    storage = arange(numel)._typed_storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, OrderedDict())


class Labelled(torch.Tensor):
    """A tensor subclass."""


class Net(torch.nn.Module):
    """Pickled whole, which a reader of tensors must refuse."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.linear(x)


def save(name, content, **options):
    torch.save(content, name, **options)


def save_legacy(name, content):
    torch.save(content, name, _use_new_zipfile_serialization=False)


def repack(source, target, compression=zipfile.ZIP_STORED, replace=None):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = (replace or {}).get(name.split("/", 1)[1], old.read(name))
            new.writestr(name, content)


def good():
    save("zip.pth", {"state_dict": state_dict()})
    save_legacy("legacy.pth", {"model": state_dict()})
    save("bare.pth", state_dict())
    save("module_prefix.pth", {"state_dict": OrderedDict(("module." + k, v) for k, v in state_dict().items())})

    dtypes = {d: torch.tensor([0, 1, 1, 0, 1]).to(getattr(torch, d)) for d in DTYPES}
    save("dtypes.pth", dtypes)
    save_legacy("dtypes_legacy.pth", dtypes)

    base = arange(4, 6)
    views = {"base": base, "transposed": base.t(), "window": base[1:3, 2:5], "columns": base[:, ::2],
             "scalar": base[3, 5], "empty": base[:0], "repeated": base[0, :1].expand(3)}
    save("views.pth", views)
    save_legacy("views_legacy.pth", views)

    typed = {"parameter": torch.nn.Parameter(arange(3)),
             "labelled": arange(3, start=3).as_subclass(Labelled),
             "untyped": Call(torch._utils._rebuild_tensor_v3, arange(3, start=6).untyped_storage(),
                             0, (3,), (1,), False, OrderedDict(), torch.float32),
             "old": Call(torch._utils._rebuild_tensor, arange(3, start=9)._typed_storage(), 0, (3,), (1,))}
    save("rebuilds.pth", typed)
    save("protocol4.pth", {"state_dict": state_dict()}, pickle_protocol=4)
    save("python2.pth", {"state_dict": Call(OrderedDict, [[k, v] for k, v in state_dict().items()])})


def with_metadata():
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(arange(*parameter.shape))
    save("training.pth", {
        "model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 36, "lr": 1e-5, "amp": True,
        "best": numpy.float64(0.5), "when": datetime.datetime(2022, 7, 28),
        "schedule": functools.partial(max, 1), "scaler": None, "big": 1 << 80,
        "args": argparse.Namespace(model="hornet_tiny_gf", input_size=224)})
    save("mmcv.pth", {
        "meta": {"epoch": 12, "iter": 87960, "mmcv_version": "1.4.8", "seed": None, "CLASSES": ("person", "b\u00e4r"),
                 "PALETTE": [[220, 20, 60], [119, 11, 32]], "hook_msgs": {}},
        "state_dict": net.state_dict()})
    save("mmengine.pth", {
        "meta": {"experiment_name": "demo", "cfg": "model = dict()",
                 "dataset_meta": {"classes": ["wall", "sky"], "palette": [(120, 120, 120), (6, 230, 230)]}},
        "message_hub": {"log_scalars": OrderedDict(), "loss": numpy.array([1.5])},
        "state_dict": net.state_dict()})


def hostile():
    strike = Call(os.system, "touch pickle_was_executed")
    save("hostile_args.pth", {"state_dict": state_dict(), "args": strike})
    save("hostile_state_dict.pth", {"state_dict": strike})
    save("hostile_tensor.pth", {"state_dict": {"good": arange(2), "bad": strike}})
    save_legacy("hostile_legacy.pth", strike)
    save("hostile_module.pth", {"model": Net()})
    bad_views = {"short_storage": (4, 0, (2, 3), (3, 1)), "offset_outside": (4, 3, (2,), (1,)),
                 "negative_offset": (4, -1, (2,), (1,)), "negative_stride": (4, 3, (2,), (-1,)),
                 "negative_size": (4, 0, (-2,), (1,)), "huge_shape": (4, 0, (1 << 40, 1 << 40), (0, 0)),
                 "huge_stride": (4, 0, (3,), (1 << 62,)), "huge_offset": (4, (1 << 63) - 1, (2,), (1,)),
                 "huge_expand": (4, 0, (1 << 40,), (0,)), "rank_mismatch": (4, 0, (2, 2), (1,))}
    for name, extent in bad_views.items():
        save(name + ".pth", {"state_dict": {"bad": view(*extent)}})
    save("complex.pth", {"state_dict": {"bad": torch.zeros(2, dtype=torch.complex64)}})
    save("sparse.pth", {"state_dict": {"bad": torch.eye(2).to_sparse()}})
    save("no_tensors.pth", {"epoch": 3})
    repack("zip.pth", "deflated.pth", zipfile.ZIP_DEFLATED)
    repack("zip.pth", "big_endian.pth", replace={"byteorder": b"big"})
    torch.jit.save(torch.jit.script(Net()), "torchscript.pt")
    with open("plain.pkl", "wb") as file:
        pickle.dump({"state_dict": {}}, file, protocol=2)


def tensors_only():
    buffer = io.BytesIO(safetensors.torch.save(
        {"conv.weight": arange(2, 3), "half": arange(3).half(), "flag": torch.tensor([True, False])},
        metadata={"format": "pt", "classes": '["person", "dog"]', "palette": "[[220, 20, 60], [0, 0, 142]]"}))
    with open("small.safetensors", "wb") as file:
        file.write(buffer.getvalue())


if __name__ == "__main__":
    torch.manual_seed(0)
    good()
    with_metadata()
    hostile()
    tensors_only()
