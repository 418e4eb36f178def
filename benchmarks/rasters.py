#!/usr/bin/env python3
"""Memory and throughput of `hornet segment` on large rasters.

    benchmarks/rasters.py build/bin --photos /usr/share/doc/opencv-doc/examples/data
    benchmarks/rasters.py build/bin --photos ... --heights --square 0 --throughput-size 3072 2816

Mosaics photographs (Debian's opencv-doc has some) into GeoTIFFs of any size, runs the program over
them, and writes what it finds to benchmarks/results, with the machine's description: rasters.md has
memory, segment.md the throughput of the whole program beside the bare network's. No --heights and
--square 0 leave the first out, --no-throughput the second. Peak memory is what run.json says: the
largest resident size of the whole process. Needs gdal-bin.
"""

import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys
import tempfile

BLOCK = 1024  # photographs are scaled to blocks of this size


def run(command, **more):
    return subprocess.run([str(part) for part in command], check=True, **more)


def make_blocks(photos, folder):
    """The photographs as GeoTIFF blocks, three bands of 8 bits."""
    blocks = []
    for photo in sorted(photos.glob("*.jpg")):
        block = folder / (photo.stem + ".tif")
        command = ["gdal_translate", "-q", "-outsize", BLOCK, BLOCK, "-r", "bilinear", "-b", 1, "-b", 2,
                   "-b", 3, "-co", "TILED=YES", "-co", "COMPRESS=DEFLATE", photo, block]
        if subprocess.run([str(part) for part in command], capture_output=True).returncode == 0:
            blocks.append(block)
    if not blocks:
        sys.exit(f"{photos}: no colour photographs (.jpg)")
    return blocks


def write_mosaic(path, width, height, blocks):
    """A virtual raster of blocks, row by row."""
    lines = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">']
    for band in (1, 2, 3):
        lines.append(f'<VRTRasterBand dataType="Byte" band="{band}">')
        index = 0
        for y in range(0, height, BLOCK):
            for x in range(0, width, BLOCK):
                w, h = min(BLOCK, width - x), min(BLOCK, height - y)
                rect = f'xSize="{w}" ySize="{h}"'
                lines.append(
                    f'<SimpleSource><SourceFilename relativeToVRT="1">{blocks[index % len(blocks)].name}'
                    f'</SourceFilename><SourceBand>{band}</SourceBand>'
                    f'<SrcRect xOff="0" yOff="0" {rect}/><DstRect xOff="{x}" yOff="{y}" {rect}/>'
                    '</SimpleSource>')
                index += 1
        lines.append("</VRTRasterBand>")
    path.write_text("\n".join(lines + ["</VRTDataset>\n"]))


def make_raster(path, width, height, blocks):
    """The mosaic as a GeoTIFF: a virtual raster would add what it keeps of its sources."""
    mosaic = path.with_suffix(".vrt")
    write_mosaic(mosaic, width, height, blocks)
    path.unlink(missing_ok=True)
    run(["gdal_translate", "-q", "-co", "TILED=YES", "-co", "COMPRESS=DEFLATE", "-co", "ZLEVEL=1",
         "-co", "BIGTIFF=IF_SAFER", mosaic, path])


def segment(program, weights, raster, folder, options):
    output = folder / "labels.tif"
    for old in folder.glob("run*.json"):
        old.unlink()
    run([program, "segment", "--force", "--progress", "none", "--weights", weights, "--input", raster,
         "--output", output, *options], stderr=subprocess.DEVNULL)
    report = json.loads((folder / "run.json").read_text())
    output.unlink()
    return report


def row(size, options, report):
    memory = report["peak_memory"]["host_bytes"] / 2**20
    tiles = report["counts"]["tiles"]
    return f"| {size} | {' '.join(options)} | {tiles} | {memory:.0f} MiB |"


def machine():
    name = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    level = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    cores = len(list(pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    return f"{cores} cores of {name} ({', '.join(level)}), {platform.system()} {platform.release().split('-')[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="folder of hornet and bench_segment")
    parser.add_argument("--photos", type=pathlib.Path, required=True, help="folder of .jpg")
    parser.add_argument("--weights", type=pathlib.Path,
                        default="tests/data/fixtures/upernet_hornet_tiny_gf_s2/model.pth",
                        help="a UperNet; by default a narrow one of 150 classes")
    parser.add_argument("--model", default="upernet_hornet_tiny_7x7", help="for the throughput")
    parser.add_argument("--no-throughput", action="store_true")
    parser.add_argument("--rounds", type=int, default=2, help="of the throughput")
    parser.add_argument("--throughput-size", type=int, nargs=2, default=[2048, 1536],
                        metavar=("WIDTH", "HEIGHT"),
                        help="of its raster: 2048 1536 has 30 windows of 512, 3072 2816 has 72")
    parser.add_argument("--heights", type=int, nargs="*", default=[1024, 8192, 65536])
    parser.add_argument("--square", type=int, default=32768, help="side of the largest; 0: none")
    parser.add_argument("--results", type=pathlib.Path, default="benchmarks/results", help="folder")
    args = parser.parse_args()
    program = args.bin / "hornet"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        blocks = make_blocks(args.photos, folder)
        head = f"`benchmarks/rasters.py`, {datetime.date.today()}: {machine()}."
        lines = [head, "", f"Memory, with `{args.weights}`:", "",
                 "| raster | options | windows | peak memory, whole process |", "|---|---|--:|--:|"]
        raster = folder / "mosaic.tif"
        sizes = [(4096, height, []) for height in args.heights]
        if args.square:
            sizes.append((args.square, args.square, ["--max-memory", "3G", "--stride", "512"]))
        for width, height, options in sizes:
            make_raster(raster, width, height, blocks)
            report = segment(program, args.weights, raster, folder, options)
            lines.append(row(f"{width} x {height}", options, report))
            print(lines[-1], file=sys.stderr, flush=True)
        if sizes:
            (args.results / "rasters.md").write_text("\n".join(lines) + "\n")
        if args.no_throughput:
            return
        width, height = args.throughput_size
        make_raster(raster, width, height, blocks)
        bench = run([args.bin / "bench_segment", program, raster, folder, args.model, 512, args.rounds],
                    stdout=subprocess.PIPE, text=True)
        result = json.loads(bench.stdout)
        lines = [head, "", f"Throughput over {width} x {height}, random weights, fp32, one window at a time:", "",
                 "| model | windows | bare network | whole program | throughput, program / bare |",
                 "|---|--:|--:|--:|--:|",
                 f"| {result['model']} | {result['windows']} of {result['tile']} "
                 f"| {result['bare_seconds']:.1f} s | {result['program_seconds']:.1f} s "
                 f"| {result['program_to_bare_throughput']:.2f} |"]
        (args.results / "segment.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
