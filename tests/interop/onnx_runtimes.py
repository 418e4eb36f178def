#!/usr/bin/env python3
"""Exported ONNX files in the runtimes that people have, against `hornet forward`.

    tests/interop/onnx_runtimes.py build/bin/hornet tests/data/fixtures [--runtime openvino ...]

Every model is exported at an odd size, with one image and with a dynamic batch of two, and must give
the numbers of `hornet forward` to 1e-4 of the largest. Exit code 77 if none of the runtimes is
installed (pip install onnxruntime openvino numpy).
"""

import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

TOLERANCE = 1e-4
# Deep random networks amplify rounding: between two float32 implementations, more than this is wrong.
TOLERANCE_OF_DEEP = 1e-3


def write_safetensors(path, tensors):
    header, offset, blobs = {}, 0, []
    for name, array in tensors.items():
        data = array.tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"])
    return tensors


def run_onnxruntime(path, image):
    import onnxruntime
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": image})))


def run_openvino(path, image):
    import openvino
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([image])
    return {output.get_any_name(): results[output] for output in compiled.outputs}


RUNTIMES = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True)


def check(program, model, folder, runtimes, batch):
    image = np.random.default_rng(1).standard_normal((batch, 3, 101, 133)).astype(np.float32)
    given, expected, exported = folder / "in.safetensors", folder / "out.safetensors", folder / "model.onnx"
    write_safetensors(given, {"input": image})
    run(program, "forward", "--force", "--weights", model, "--input", given, "--output", expected)
    run(program, "export", "--force", "--weights", model, "--output", exported, "--size", "133x101",
        *(["--dynamic-batch"] if batch > 1 else []))
    reference = read_safetensors(expected)
    failures = 0
    for runtime in runtimes:
        for name, value in RUNTIMES[runtime](exported, image).items():
            scale = np.abs(reference[name]).max()
            error = np.abs(value - reference[name]).max() / scale
            wrong = value.shape != reference[name].shape or not error <= (
                TOLERANCE if name == "logits" and "logits" in reference and "pooled" in reference
                else TOLERANCE_OF_DEEP)
            failures += wrong
            print(f"{model.parent.name} {name} N={batch} {runtime}: {error:.1e} {'WRONG' if wrong else 'ok'}")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="build/bin/hornet")
    parser.add_argument("fixtures", type=pathlib.Path, help="folder of folders with a model.pth")
    parser.add_argument("--runtime", nargs="*", choices=list(RUNTIMES), help="default: all that are installed")
    args = parser.parse_args()
    runtimes = args.runtime or [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if not runtimes or not importlib.util.find_spec("numpy"):
        print("skipped: needs numpy and onnxruntime or openvino")
        return 77
    global np
    import numpy as np
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        for model in sorted(args.fixtures.glob("*/model.pth")):
            for batch in (1, 2):
                failures += check(args.program, model, pathlib.Path(name), runtimes, batch)
    print(f"{failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
