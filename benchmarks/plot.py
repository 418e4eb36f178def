#!/usr/bin/env python3
"""Draws what compare.py and growth.py have measured: results/compare.json or growth.json becomes a .png
beside it. Needs matplotlib and nothing else.

    python benchmarks/plot.py benchmarks/results/growth.json
"""

import json
import pathlib
import sys

try:
    import matplotlib
except ImportError:
    sys.exit("plot.py: matplotlib is not installed")
matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = {"eager": "#9a9a9a", "compile": "#c9a227", "onnxruntime": "#5b8db8", "openvino": "#7b5ba6",
           "hornet": "#c0392b"}
NAMES = {"eager": "eager PyTorch", "compile": "torch.compile", "onnxruntime": "onnxruntime", "openvino": "OpenVINO",
         "hornet": "HorNet C++"}
# Operators in the order of the legend: one order of gnConv stands for all, the orders have a panel.
SHOWN = {"gnConv 7x7": ("#c0392b", "-"), "gnConv GF": ("#c0392b", "--"), "convolution 7x7": ("#444444", "-"),
         "depthwise 7x7": ("#9a9a9a", "-"), "squeeze-and-excitation": ("#2e8b57", "-"),
         "self-attention": ("#5b8db8", "-"), "self-attention, fused": ("#5b8db8", "--")}
BACKBONES = {"hornet_tiny_7x7": ("#c0392b", "-"), "hornet_tiny_gf": ("#c0392b", "--")}
ORDER = 3


def plot_compare(result):
    cells = result["cells"]
    names = [name for name in NAMES if any(name in cell["ways"] for cell in cells)]
    figure, axes = pyplot.subplots(1, len(cells), figsize=(1.2 + 2.6 * len(cells), 3.4), squeeze=False)
    for axis, cell in zip(axes[0], cells):
        shown = [name for name in names if name in cell["ways"]]
        medians = [cell["ways"][name]["median_ms"] for name in shown]
        spread = [[max(0, median - cell["ways"][name]["min_ms"]) for name, median in zip(shown, medians)],
                  [max(0, cell["ways"][name]["max_ms"] - median) for name, median in zip(shown, medians)]]
        places = [names.index(name) for name in shown]
        bars = axis.bar(places, medians, yerr=spread, color=[COLOURS[name] for name in shown], ecolor="#222222",
                        capsize=2)
        axis.bar_label(bars, [f"{median:.3g}" for median in medians], fontsize=7, padding=3)
        axis.set_title(f"{cell['model']}\n{cell['size']}, {cell['dtype']}", fontsize=8)
        axis.set_xticks(range(len(names)), [NAMES[name] for name in names], rotation=40, ha="right", fontsize=7)
        axis.margins(y=0.12)
    axes[0][0].set_ylabel("ms, one image (median; least to largest round)", fontsize=7)
    return figure


def series(rows, value, **wanted):
    chosen = [row for row in rows if all(row.get(key) == item for key, item in wanted.items())]
    points = [(row["side"], row[value]) for row in chosen if row.get(value)]
    return [side for side, _ in points], [item for _, item in points]


def plot_by_side(axis, rows, styles, value, scale, title):
    for name, (colour, line) in styles.items():
        order = ORDER if name.startswith("gnConv") else None
        sides, values = series(rows, value, operator=name, order=order)
        axis.plot(sides, [scale * item for item in values], line, color=colour, marker="o", markersize=3,
                  label=f"{name}, order {order}" if order else name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    ticks = sorted({row["side"] for row in rows})
    axis.set_xticks(ticks, ticks, fontsize=7, rotation=40)
    axis.minorticks_off()
    axis.set_xlabel("side of the image", fontsize=8)
    axis.set_title(title, fontsize=9)


def plot_by_order(axis, rows, side):
    for name, line in (("gnConv 7x7", "-"), ("gnConv GF", "--")):
        chosen = [row for row in rows if row["operator"] == name and row["side"] == side and "median_ms" in row]
        axis.plot([row["order"] for row in chosen], [row["median_ms"] for row in chosen], line, color="#c0392b",
                  marker="o", markersize=3, label=name)
    axis.set_ylim(bottom=0)
    axis.set_xticks(range(1, 6))
    axis.set_xlabel("order", fontsize=8)
    axis.set_title(f"ms by order, side {side}", fontsize=9)
    axis.legend(fontsize=6)


def middle_side(rows):
    sides = sorted({row["side"] for row in rows if "median_ms" in row})
    return 1024 if 1024 in sides else sides[len(sides) // 2]


def plot_growth(result):
    rows = result["rows"]
    figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.8))
    plot_by_side(axes[0], rows, SHOWN, "median_ms", 1, "ms")
    plot_by_side(axes[1], rows, SHOWN, "working_bytes", 1 / 2**20, "working memory, MiB")
    plot_by_order(axes[2], rows, middle_side(rows))
    plot_by_side(axes[3], rows, BACKBONES, "median_ms", 1, "whole backbones, ms")
    axes[0].legend(fontsize=6)
    axes[3].legend(fontsize=6)
    return figure


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = pathlib.Path(sys.argv[1])
    result = json.loads(path.read_text())
    figure = plot_growth(result) if "rows" in result else plot_compare(result)
    figure.tight_layout()
    figure.savefig(path.with_suffix(".png"), dpi=110)
    print(path.with_suffix(".png"))


if __name__ == "__main__":
    main()
