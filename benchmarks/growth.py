#!/usr/bin/env python3
"""How time and memory grow with resolution: gnConv of orders 1 to 5 (7x7 and global filter), a plain
7x7 convolution, squeeze-and-excitation, self-attention, at equal width; and whole backbones.

    .venv/bin/python benchmarks/growth.py build/bin          # matplotlib for the plot

Runs build/bin/bench_growth and writes growth.json, growth.md and growth.png to benchmarks/results.
Options that it does not know go to bench_growth (listed in growth.cpp): --seconds 3, sides, ...
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

from rasters import machine

HERE = pathlib.Path(__file__).resolve().parent


def measure(command):
    rows, process = [], subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        rows.append(json.loads(line))
        print(line, end="", file=sys.stderr, flush=True)
    if process.wait():
        sys.exit(f"{command[0]} failed")
    return rows[0], rows[1:]


def label(row):
    return row["operator"] + (f", order {row['order']}" if "order" in row else "")


def table(rows, text):
    sides = sorted({row["side"] for row in rows})
    lines = ["| | " + " | ".join(f"{side}" for side in sides) + " |", "|---" + "|--:" * len(sides) + "|"]
    for name in dict.fromkeys(label(row) for row in rows):
        cells = {row["side"]: text(row) for row in rows if label(row) == name}
        lines.append(f"| {name} | " + " | ".join(cells[side] for side in sides) + " |")
    return lines


def time_text(row):
    return "-" if "skipped" in row else f"{row['median_ms']:.1f}"


def memory_text(row):
    return f"{row['working_bytes'] / 2**20:.0f}" if row.get("working_bytes") is not None else "-"


def report(result):
    settings, rows = result["settings"], result["rows"]
    lines = [f"`benchmarks/growth.py`, {result['date']}: {result['machine']}, {settings['threads']} threads,"
             f" LibTorch {settings['libtorch']}, instruction set: {settings['isa']}. Maps of {settings['channels']}"
             f" channels at stride {settings['stride']}, float32.", "",
             "Milliseconds by the side of the image:", "", *table(rows, time_text), "",
             "Memory that a first run takes beside its input (peak of resident memory), in MiB; of what is"
             " prepared, with packed weights and workspace; some 12 are of libraries that are used for the first"
             " time:", "",
             *table(rows, memory_text), ""]
    lines += [f"Not run: {label(row)} at {row['side']}, {row['skipped']}." for row in rows if "skipped" in row]
    return "\n".join(lines).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of bench_growth")
    parser.add_argument("--plot-python", default=sys.executable, help="with matplotlib")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results", help="folder")
    args, more = parser.parse_known_args()
    settings, rows = measure([args.bin / "bench_growth", *more])
    # In a process of its own, which gives freed memory back.
    _, memory = measure([args.bin / "bench_growth", "--memory", *more])
    working = {(label(row), row["side"]): row.get("working_bytes") for row in memory}
    for row in rows:
        if "skipped" not in row:
            row["working_bytes"] = working[label(row), row["side"]]
    result = {"date": str(datetime.date.today()), "machine": machine(), "settings": settings, "rows": rows}
    data = args.results / "growth.json"
    data.write_text(json.dumps(result, indent=1) + "\n")
    (args.results / "growth.md").write_text(report(result))
    if subprocess.run([str(args.plot_python), str(HERE / "plot.py"), str(data)]).returncode:
        print(f"no plot; with matplotlib: python {HERE / 'plot.py'} {data}", file=sys.stderr)
    print(args.results / "growth.md")


if __name__ == "__main__":
    main()
