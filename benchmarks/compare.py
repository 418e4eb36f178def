#!/usr/bin/env python3
"""HorNet's backbones here and elsewhere: the paper's algorithm in eager PyTorch (hornet_eager.py),
torch.compile on it, onnxruntime and OpenVINO on what `hornet export` writes, and `hornet bench`.

    .venv/bin/pip install openvino matplotlib          # what there is of the runtimes takes part
    .venv/bin/python benchmarks/compare.py build/bin

Random weights, made once per network and read by all. Every way must first give the features of
`hornet forward`. Then they take turns: in each round every way runs for --seconds, in a process of its
own that sleeps while the others run, after a run that does not count; every second round goes
backwards. A cell is the median over the rounds of a round's median. Writes compare.json, compare.md and,
with matplotlib, compare.png to benchmarks/results. What does not take part is named, with the reason.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import hornet_eager
import peers
import tensors
import torch
from rasters import machine

HERE = pathlib.Path(__file__).resolve().parent
WAYS = {"eager": "eager PyTorch", "compile": "torch.compile", "onnxruntime": "onnxruntime", "openvino": "OpenVINO",
        "hornet": "HorNet C++"}
# Between two float32 implementations of a deep random network, and for numbers of 8 bits.
TOLERANCE = {"fp32": 1e-3, "bf16": 0.2}


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, text=True, **more)


class Program:
    """`hornet bench`, started anew in each round: its own times do not include starting."""

    def __init__(self, program, job):
        self.command = [program, "bench", "--json", "--progress", "none", "--device", "cpu", "--weights",
                        job["weights"], "--size", job["size"], "--dtype", job["dtype"], "--threads",
                        str(job["threads"])]
        self.info = self.measure(0)
        self.version = f"HorNet C++ {self.info['versions']['hornet']}, LibTorch {self.info['versions']['libtorch']}"
        self.error = self.error_of(program, job) if job["dtype"] != "fp32" else 0.0
        # Where there are no instructions for it the program runs in float32, and says so.
        self.missing = None if self.info["dtype"] == job["dtype"] else f"no {job['dtype']} on this processor"

    @staticmethod
    def error_of(program, job):
        """Of the reduced precision; in float32 the program's features are what others are held to."""
        path = pathlib.Path(job["expected"]).with_suffix(f".{job['dtype']}.safetensors")
        run(program, "forward", "--force", "--device", "cpu", "--dtype", job["dtype"], "--weights", job["weights"],
            "--input", job["input"], "--output", path, stderr=subprocess.DEVNULL)
        features = tensors.read(path, tensors.to_torch)
        return peers.largest_error([features[f"feat{level}"] for level in range(4)], job["expected"])

    def measure(self, seconds):
        result = json.loads(run(*self.command, "--seconds", seconds, stdout=subprocess.PIPE).stdout)
        return result

    def close(self):
        pass


class Peer:
    """peers.py in a process of its own."""

    def __init__(self, name, python, job_file):
        self.process = subprocess.Popen([str(python), str(HERE / "peers.py"), name, str(job_file)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ready = self.read()
        self.missing = ready.get("missing")
        self.version, self.error = ready.get("version"), ready.get("error")

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended"}

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        result = self.read()
        if "missing" in result:
            raise RuntimeError(result["missing"])
        return {"median_ms": statistics.median(result["ms"]), "peak_memory_bytes": result["peak_memory_bytes"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def prepare(program, model, size, dtype, threads, folder):
    """Weights, input, expected features and the ONNX file of a cell."""
    width, height = (int(side) for side in size.split("x"))
    weights, given = folder / f"{model}.pth", folder / f"input_{size}.safetensors"
    expected, exported = folder / f"{model}_{size}.safetensors", folder / f"{model}_{size}.onnx"
    if not weights.exists():
        torch.save({"model": hornet_eager.variant(model).state_dict()}, weights)
    if not given.exists():
        image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        tensors.write(given, "input", image, image.data_ptr())
    quiet = {"stderr": subprocess.DEVNULL}
    if not expected.exists():
        run(program, "forward", "--device", "cpu", "--weights", weights, "--input", given, "--output", expected, **quiet)
        run(program, "export", "--weights", weights, "--output", exported, "--size", size, **quiet)
    job = {"weights": str(weights), "onnx": str(exported), "input": str(given), "expected": str(expected),
           "size": size, "dtype": dtype, "threads": threads}
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return job, path


def start(args, names, job, job_file):
    ways, missing = {}, {}
    for name in names:
        python = args.runtimes_python if name in ("onnxruntime", "openvino") else sys.executable
        way = Program(args.bin / "hornet", job) if name == "hornet" else Peer(name, python, job_file)
        if way.missing:
            missing[name] = way.missing
        elif not way.error <= TOLERANCE[job["dtype"]]:
            missing[name] = f"other features: error {way.error:.1e}"
        else:
            ways[name] = way
            continue
        way.close()
    return ways, missing


def measure(args, model, size, dtype, folder):
    job, job_file = prepare(args.bin / "hornet", model, size, dtype, args.threads, folder)
    ways, missing = start(args, args.ways, job, job_file)
    medians, memory = {name: [] for name in ways}, {}
    for turn in range(args.rounds):
        for name in list(ways) if turn % 2 == 0 else list(reversed(ways)):
            result = ways[name].measure(args.seconds)
            medians[name].append(result["median_ms"])
            memory[name] = result["peak_memory_bytes"]
            print(f"{model} {size} {dtype} round {turn + 1}/{args.rounds} {name}: {medians[name][-1]:.1f} ms",
                  file=sys.stderr, flush=True)
    cell = {"model": model, "size": size, "dtype": dtype, "missing": missing, "ways": {}}
    for name, way in ways.items():
        cell["ways"][name] = {"median_ms": statistics.median(medians[name]), "min_ms": min(medians[name]),
                              "max_ms": max(medians[name]), "error": way.error,
                              "peak_memory_bytes": memory[name], "version": way.version}
        way.close()
    if "hornet" in ways:
        cell["isa"] = ways["hornet"].info["isa"]
    return cell


def table(names, cells, text):
    lines = ["| network | " + " | ".join(WAYS[name] for name in names) + " |", "|---" + "|--:" * len(names) + "|"]
    for cell in cells:
        row = [text(cell, cell["ways"][name]) if name in cell["ways"] else "-" for name in names]
        lines.append(f"| {cell['model']} {cell['size']} {cell['dtype']} | " + " | ".join(row) + " |")
    return lines


def time_text(cell, way):
    text = f"{way['median_ms']:.1f}"
    eager = cell["ways"].get("eager")
    return f"{text} ({way['median_ms'] / eager['median_ms']:.2f})" if eager else text


def report(result):
    """The tables, in Markdown."""
    cells = result["cells"]
    names = [name for name in WAYS if any(name in cell["ways"] for cell in cells)]
    versions = sorted({way["version"] for cell in cells for way in cell["ways"].values()})
    isas = ", ".join(sorted({f"{cell.get('isa', '-')} ({cell['dtype']})" for cell in cells}))
    lines = [f"`benchmarks/compare.py`, {result['date']}: {result['machine']}, {result['threads']} threads;"
             f" instruction set of HorNet C++: {isas}. {', '.join(versions)}.", "",
             "Milliseconds of a dense backbone on one image; in brackets the time relative to eager PyTorch.", ""]
    lines += table(names, cells, time_text)
    lines += ["", "Peak of resident memory of the whole process, in MiB:", ""]
    lines += table(names, cells, lambda cell, way: f"{way['peak_memory_bytes'] / 2**20:.0f}"
                   if way["peak_memory_bytes"] else "-")
    lines += ["", "Largest difference of the features from `hornet forward` in float32, relative to the largest value:",
              ""]
    lines += table(names, cells, lambda cell, way: "reference" if not way["error"] else f"{way['error']:.0e}")
    lines += [""] + [f"Not in {cell['model']} {cell['size']} {cell['dtype']}: {WAYS[name]}, {reason}."
                     for cell in cells for name, reason in cell["missing"].items()]
    return "\n".join(lines).rstrip() + "\n"


def plot(args, path):
    outcome = subprocess.run([str(args.plot_python), str(HERE / "plot.py"), str(path)], text=True)
    if outcome.returncode:
        print(f"no plot; with matplotlib: python {HERE / 'plot.py'} {path}", file=sys.stderr)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of hornet")
    parser.add_argument("--models", nargs="*", default=["hornet_tiny_7x7", "hornet_tiny_gf"])
    parser.add_argument("--sizes", nargs="*", default=["224x224", "1216x800"], help="WxH")
    parser.add_argument("--dtypes", nargs="*", default=["fp32"], choices=list(TOLERANCE))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each way in a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runtimes-python", default=sys.executable, help="with onnxruntime and openvino")
    parser.add_argument("--plot-python", default=sys.executable, help="with matplotlib")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results", help="folder")
    return parser.parse_args()


def main():
    args = parse()
    result = {"date": str(datetime.date.today()), "machine": machine(), "threads": args.threads, "cells": []}
    data = args.results / "compare.json"
    with tempfile.TemporaryDirectory() as name:
        for model in args.models:
            for size in args.sizes:
                for dtype in args.dtypes:
                    result["cells"].append(measure(args, model, size, dtype, pathlib.Path(name)))
                    data.write_text(json.dumps(result, indent=1) + "\n")
                    (args.results / "compare.md").write_text(report(result))
    plot(args, data)
    print(args.results / "compare.md")


if __name__ == "__main__":
    main()
