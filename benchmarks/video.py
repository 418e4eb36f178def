#!/usr/bin/env python3
"""Throughput of `hornet detect` on a video beside that of its bare network.

    benchmarks/video.py build/bin --video "$(cmake/bootstrap.sh --video)"

Runs bench_video (what is measured is said in video.cpp) with the shipped model of pedestrians and with
Cascade Mask R-CNN-T as published, and writes the table to benchmarks/results/video.md.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

from rasters import machine

HERE = pathlib.Path(__file__).resolve().parent
# Model, frames, and rounds, which those of minutes do without.
RUNS = [("demos/models/pedestrians.safetensors", 300, 3), ("cascade_mask_rcnn_hornet_tiny_7x7", 24, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of hornet and bench_video")
    parser.add_argument("--video", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results" / "video.md")
    args = parser.parse_args()
    lines = [f"`benchmarks/video.py`, {datetime.date.today()}: {machine()}.", "",
             "Frames a second; in brackets relative to the bare network.", "",
             "| model | input | frames | bare network | `--json` | `--output` .mp4 |", "|---|--:|--:|--:|--:|--:|"]
    with tempfile.TemporaryDirectory() as folder:
        for model, frames, rounds in RUNS:
            command = [args.bin / "bench_video", args.bin / "hornet", args.video, folder, model, frames, rounds]
            result = json.loads(subprocess.run([str(part) for part in command], check=True, text=True,
                                               stdout=subprocess.PIPE).stdout)
            bare, found, drawn = (f"{result['frames'] / result[f'{way}_seconds']:.2f}" for way in
                                  ("bare", "json", "video"))
            lines.append(f"| {result['model']} | {result['width']}x{result['height']} | {result['frames']} | {bare} "
                         f"| {found} ({result['json_to_bare_throughput']:.2f}) "
                         f"| {drawn} ({result['video_to_bare_throughput']:.2f}) |")
            print(lines[-1], file=sys.stderr, flush=True)
    args.results.write_text("\n".join(lines) + "\n")
    print(args.results)


if __name__ == "__main__":
    main()
