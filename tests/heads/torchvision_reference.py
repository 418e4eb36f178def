"""Makes tests/data/torchvision: what torchvision's Mask R-CNN computes from weights by formula.

The weights are a hash of their name and index (see `weight`), so that the tests can make them
again and no large file is needed. names.txt has every tensor's name and shape, outputs.safetensors
what flows through the network: float tensors as every k-th value of the flattened tensor (k is in
"<name>.step"), the rest whole.

Run it with torch 2.11, torchvision 0.26 and numpy: python tests/heads/torchvision_reference.py
"""

import json
import pathlib
import struct

import numpy
import torch
import torchvision
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data" / "torchvision"
HEIGHT, WIDTH, MIN_SIZE, MAX_SIZE = 187, 263, 151, 333
SAMPLES = 1200  # of a large tensor
WHOLE_MASKS = 12

# (end of the name, centre, spread); of weights the spread is sqrt(3 * gain / fan-in). The first
# that fits counts. Chosen so that activations stay near one and some scores are high.
RULES = [
    ("running_var", 1.0, 0.5),
    ("running_mean", 0.0, 0.2),
    ("bn3.weight", 0.3, 0.1),
    ("downsample.1.weight", 0.7, 0.1),
    ("bn1.weight", 1.0, 0.2),
    ("bn2.weight", 1.0, 0.2),
    ("bias", 0.0, 0.1),
    ("inner_blocks.0.0.weight", 0.0, 0.1),
    ("inner_blocks.1.0.weight", 0.0, 0.1),
    ("inner_blocks.2.0.weight", 0.0, 0.1),
    ("inner_blocks.3.0.weight", 0.0, 0.1),
    ("rpn.head.cls_logits.weight", 0.0, 3.0),
    ("rpn.head.bbox_pred.weight", 0.0, 0.1),
    ("box_predictor.cls_score.weight", 0.0, 20.0),
    ("box_predictor.bbox_pred.weight", 0.0, 0.5),
    ("mask_fcn_logits.weight", 0.0, 4.0),
    ("weight", 0.0, 2.0),
]


def mix(values):
    """The finaliser of MurmurHash3 on uint32."""
    values = values ^ (values >> 16)
    values = values * numpy.uint32(0x85EBCA6B)
    values = values ^ (values >> 13)
    values = values * numpy.uint32(0xC2B2AE35)
    return values ^ (values >> 16)


def seed(name):
    """FNV-1a."""
    value = 2166136261
    for byte in name.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return numpy.uint32(value)


def weight(name, shape):
    centre, spread = next(rule[1:] for rule in RULES if name.endswith(rule[0]))
    if len(shape) > 1:
        spread = (3 * spread * shape[0] / numpy.prod(shape)) ** 0.5
    index = numpy.arange(numpy.prod(shape), dtype=numpy.uint32)
    bits = mix(seed(name) ^ (index * numpy.uint32(0x9E3779B9)))
    unit = (bits >> 8).astype(numpy.float32) * numpy.float32(2.0**-23) - numpy.float32(1)
    if name.endswith("fc6.weight"):  # neighbours cancel, or all regions would look alike
        unit[1::2] = -unit[:-1:2]
    values = numpy.float32(centre) + numpy.float32(spread) * unit
    return torch.from_numpy(values.reshape(shape))


def image():
    """RGB [h,w,3]: tiles, stripes and noise."""
    y, x, c = numpy.meshgrid(range(HEIGHT), range(WIDTH), range(3), indexing="ij")
    tiles = (x // 37 * 83 + y // 29 * 151 + c * 67) % 160
    stripes = (x * 5 + y * 3) // 16 % 4 * 20
    noise = mix(((y * WIDTH + x) * 3 + c).astype(numpy.uint32)) % 36
    return (tiles + stripes + noise).astype(numpy.uint8)


def older_name(name):
    """The spelling that torchvision had first, and renames when it loads it."""
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    for i in range(4):
        for blocks in ("inner_blocks", "layer_blocks"):
            name = name.replace(f"fpn.{blocks}.{i}.0.", f"fpn.{blocks}.{i}.")
        name = name.replace(f"roi_heads.mask_head.{i}.0.", f"roi_heads.mask_head.mask_fcn{i + 1}.")
    return name


def build():
    resnet = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    model = MaskRCNN(
        _resnet_fpn_extractor(resnet, 5), num_classes=91, min_size=MIN_SIZE, max_size=MAX_SIZE)
    state = {name: weight(name, tuple(t.shape)) for name, t in model.state_dict().items()}
    model.load_state_dict({older_name(name): t for name, t in state.items()})
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    return model.eval(), state


class Recorder:
    def __init__(self):
        self.tensors = {}

    def whole(self, name, tensor):
        self.tensors[name] = tensor.detach().contiguous()

    def sample(self, name, tensor):
        flat = tensor.detach().flatten()
        step = max(1, flat.numel() // SAMPLES) | 1
        self.whole(name, flat[::step])
        self.whole(name + ".step", torch.tensor([step]))

    def watch(self, model):
        def each(name, tensors):
            for i, tensor in enumerate(tensors):
                self.sample(name + str(i), tensor)

        def rpn(_, __, out):
            each("rpn_cls", out[0])
            each("rpn_reg", out[1])

        def box(_, __, out):  # the background last and without a box, as here
            self.sample("s0.cls_score", out[0].roll(-1, 1))
            self.sample("s0.bbox_pred", out[1][:, 4:])

        heads = model.roi_heads
        model.transform.register_forward_hook(lambda _, __, out: self.sample("input", out[0].tensors))
        model.backbone.body.register_forward_hook(lambda _, __, out: each("feat", out.values()))
        model.backbone.fpn.register_forward_hook(lambda _, __, out: each("fpn", out.values()))
        model.rpn.head.register_forward_hook(rpn)
        heads.box_roi_pool.register_forward_hook(lambda _, __, out: self.sample("s0.roi_feats", out))
        heads.box_predictor.register_forward_hook(box)
        heads.register_forward_hook(
            lambda _, __, out: self.sample("mask_prob", out[0][0]["masks"][:, 0]))
        filter_proposals = model.rpn.filter_proposals

        def filtered(*arguments):
            boxes, scores = filter_proposals(*arguments)
            self.whole("proposals", torch.cat([boxes[0], scores[0][:, None]], 1))
            return boxes, scores

        model.rpn.filter_proposals = filtered


def write(path, tensors):
    kinds = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
    header, data = {"__metadata__": {"torchvision": torchvision.__version__}}, b""
    for name, tensor in sorted(tensors.items()):
        part = tensor.numpy().tobytes()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(0)
    model, state = build()
    recorder = Recorder()
    recorder.watch(model)
    pixels = torch.from_numpy(image()).permute(2, 0, 1).contiguous().float().div(255)
    with torch.no_grad():
        found = model([pixels])[0]
    masks = (found["masks"][:, 0] >= 0.5).to(torch.uint8)
    recorder.whole("boxes", found["boxes"])
    recorder.whole("scores", found["scores"])
    recorder.whole("labels", found["labels"] - 1)
    recorder.whole("mask_areas", masks.flatten(1).sum(1))
    recorder.whole("mask_bits", torch.from_numpy(numpy.packbits(masks[:WHOLE_MASKS].numpy())))
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = [" ".join([name, *map(str, t.shape)]) for name, t in state.items()]
    (FOLDER / "names.txt").write_text("\n".join(lines) + "\n")
    write(FOLDER / "outputs.safetensors", recorder.tensors)
    summarise(found, recorder.tensors)


def summarise(found, tensors):
    for name, tensor in tensors.items():
        if tensor.dtype == torch.float32:
            print(f"{name:14} {list(tensor.shape)!s:12} mean {tensor.mean():8.4f} std {tensor.std():8.4f}")
    print("labels", found["labels"].unique(return_counts=True))
    print("scores", found["scores"][[0, -1]], "areas", tensors["mask_areas"][:20])


if __name__ == "__main__":
    main()
