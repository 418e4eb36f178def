"""python onnx_features.py NETWORK.onnx [PICTURE.ppm]: a picture's features, from whatever network is
in the file. Written for an exported ResNet; HorNet is another file, and no line changes:

    hornet export --weights hornet_tiny_gf.pth --output hornet.onnx --size 224
    python onnx_features.py hornet.onnx street.ppm      # convert street.jpg street.ppm makes one
"""
import sys

try:
    import numpy as np
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error} (pip install onnxruntime numpy)")
    sys.exit(77)

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def read_ppm(path):
    data = open(path, "rb").read()
    kind, width, height, largest = data.split(maxsplit=4)[:4]
    if kind != b"P6" or largest != b"255":
        sys.exit(f"{path}: expected a binary PPM of 8 bits (P6, 255)")
    size = int(width) * int(height) * 3
    return np.frombuffer(data[-size:], np.uint8).reshape(int(height), int(width), 3)


def fit(picture, height, width):
    """The nearest pixels, at the size that the network was exported for."""
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    return picture[rows][:, columns]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    height, width = entry.shape[2:]
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    picture = read_ppm(sys.argv[2]) if len(sys.argv) == 3 else noise
    pixels = (fit(picture, height, width) - MEAN) / STD
    image = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    for output, value in zip(session.get_outputs(), session.run(None, {entry.name: image})):
        print(f"{output.name} {list(value.shape)}: mean {value.mean():.3f}, largest {abs(value).max():.3f}")


if __name__ == "__main__":
    main()
