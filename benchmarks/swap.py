#!/usr/bin/env python3
"""What each way to a HorNet costs: LibTorch, OpenCV with and without ONNX, onnxruntime, OpenVINO.

    .venv/bin/python benchmarks/swap.py build/bin

Full-size classifiers with random weights, one image, float32. The C++ ways run in turns in
build/bin/bench_swap; other runtimes on the file that it exports, in turns with it. Writes a table of
medians and of ratios to LibTorch's modules to benchmarks/results/swap.md. The runtimes' own Python
packages (onnxruntime, openvino, numpy) may be missing: their columns are then left out.
"""

import argparse
import datetime
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from rasters import machine

WAYS = {"libtorch": "LibTorch modules", "opencv_make_net": "OpenCV, `make_net`",
        "opencv_read_onnx": "OpenCV, `readNet` of the export", "onnxruntime": "onnxruntime",
        "openvino": "OpenVINO"}


def onnxruntime_runner(path, image):
    import onnxruntime
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": image})


def openvino_runner(path, image):
    import openvino
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda: compiled([image])


RUNNERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}


def median_ms(function, rounds):
    function()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def measure(bench, model, size, folder, turns, rounds):
    """Medians over the turns of each way's median."""
    results = {}
    runners = {}
    for _ in range(turns):
        output = subprocess.run([bench, model, str(size), folder, str(rounds)], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        for way, value in json.loads(output)["median_ms"].items():
            results.setdefault(way, []).append(value)
        for way in RUNNERS:
            if not (importlib.util.find_spec(way) and importlib.util.find_spec("numpy")):
                continue
            if way not in runners:
                import numpy
                image = numpy.random.default_rng(1).standard_normal((1, 3, size, size)).astype("float32")
                runners[way] = RUNNERS[way](pathlib.Path(folder) / f"{model}.onnx", image)
            results.setdefault(way, []).append(median_ms(runners[way], rounds))
    return {way: statistics.median(values) for way, values in results.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of bench_swap")
    parser.add_argument("--models", nargs="*", default=["hornet_tiny_7x7", "hornet_tiny_gf"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[224, 512])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each way in a turn")
    parser.add_argument("--results", type=pathlib.Path, default="benchmarks/results/swap.md")
    args = parser.parse_args()
    rows, ways = [], []
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            for size in args.sizes:
                result = measure(args.bin / "bench_swap", model, size, folder, args.turns, args.rounds)
                rows.append((f"{model} {size}x{size}", result))
                ways = [way for way in WAYS if way in result]
                print(rows[-1], file=sys.stderr, flush=True)
    lines = [f"`benchmarks/swap.py`, {datetime.date.today()}: {machine()}. Milliseconds, one image, float32;"
             " in brackets the time relative to LibTorch's modules.", "",
             "| network | " + " | ".join(WAYS[way] for way in ways) + " |", "|---" + "|--:" * len(ways) + "|"]
    for label, result in rows:
        cells = [f"{result[way]:.0f} ({result[way] / result['libtorch']:.2f})" for way in ways]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    args.results.write_text("\n".join(lines) + "\n")
    print(args.results)


if __name__ == "__main__":
    main()
