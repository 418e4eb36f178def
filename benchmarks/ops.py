#!/usr/bin/env python3
"""The ops one by one beside the machine's limits, as a table.

    benchmarks/ops.py build/bin [--benchmark_filter=global_filter ...]

Runs build/bin/bench_ops (Google Benchmark; what its columns mean is said in ops.cpp) and writes
benchmarks/results/ops.md.
"""

import argparse
import datetime
import json
import pathlib
import re
import subprocess

from rasters import machine

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = {"GFLOP/s": "{:.1f}", "GB/s": "{:.1f}", "limit": "{:.2f}"}


def size(key):
    """Of the arrays or matrices that a limit was measured with, to sort them."""
    return key.split()[0], int(re.sub(r"\D.*", "", key.split()[-2] if "KiB" in key else key.split()[-1]) or 0)


def row(entry):
    name = entry["name"].removesuffix("/real_time")
    cells = [text.format(entry[key]) if key in entry else "-" for key, text in COLUMNS.items()]
    return f"| {name} | {entry['real_time']:.3f} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of bench_ops")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results" / "ops.md")
    args, more = parser.parse_known_args()
    output = subprocess.run([str(args.bin / "bench_ops"), "--benchmark_format=json", *more], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    result = json.loads(output)
    context = result["context"]
    limits = [f"{key} {context[key]}" for key in sorted(context, key=size) if key.startswith(("sgemm", "arrays"))]
    lines = [f"`benchmarks/ops.py`, {datetime.date.today()}: {machine()}, {context['threads']} threads, LibTorch"
             f" {context['libtorch']}, instruction set: {context['isa']}.", "",
             "Limits: " + "; ".join(limits) + ".", "",
             "`limit` is the share of what the machine could do: the time that the op's arithmetic takes at the best"
             " matrix rate, or its bytes at the bandwidth of memory of their size, over the time that it took.", "",
             "| op | ms | GFLOP/s | GB/s | limit |", "|---|--:|--:|--:|--:|"]
    args.results.write_text("\n".join(lines + [row(entry) for entry in result["benchmarks"]]) + "\n")
    print(args.results)


if __name__ == "__main__":
    main()
