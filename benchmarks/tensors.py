"""Safetensors files with float32 tensors, for Pythons with torch or with numpy."""
import ctypes
import json


def write(path, name, array, address):
    """One tensor: something with a shape, and where its float32 values lie, row by row."""
    size = 4
    for side in array.shape:
        size *= side
    header = json.dumps({name: {"dtype": "F32", "shape": list(array.shape), "data_offsets": [0, size]}}).encode()
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header + ctypes.string_at(address, size))


def read(path, convert):
    """{name: convert(bytes, shape)} for the float32 tensors."""
    with open(path, "rb") as file:
        data = file.read()
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            tensors[name] = convert(data[begin + first:begin + last], entry["shape"])
    return tensors


def to_torch(data, shape):
    import torch
    return torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)


def to_numpy(data, shape):
    import numpy
    return numpy.frombuffer(data, numpy.float32).reshape(shape)
