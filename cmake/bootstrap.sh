#!/usr/bin/env bash
# Makes a Debian machine ready to build, without asking twice for what is there already.
#
#   cmake/bootstrap.sh           installs missing packages and LibTorch; prints LibTorch's prefix
#   cmake/bootstrap.sh --video   prints the path of the demo's video, fetching it if need be
#
# LibTorch is taken from CMAKE_PREFIX_PATH, else from .venv or python3's own torch, else a wheel is
# installed in .venv. Everything but the answer goes to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.11.0
packages=(g++ cmake ninja-build ccache pkg-config libopencv-dev libboost-program-options-dev
          nlohmann-json3-dev libgtest-dev libbenchmark-dev libgdal-dev libonnx-dev libprotobuf-dev
          protobuf-compiler libopenmpi-dev openmpi-bin python3-venv)

say() { echo "hornet: $*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Installs the packages among its arguments that are missing.
need() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  as_root apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

is_debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

torch_of() { "$1" -c 'import torch; print(torch.utils.cmake_prefix_path if torch.__version__.split("+")[0] == "'$torch_version'" else "")' 2>/dev/null || true; }

video() {
  local installed=/usr/share/doc/opencv-doc/examples/data/vtest.avi fetched=demo/opencv-doc
  if [ ! -f "$installed" ] && [ ! -f "$fetched$installed" ]; then
    is_debian || { say "the demo's video is vtest.avi of OpenCV's samples/data: make demo VIDEO=/path/to/vtest.avi"; exit 1; }
    # Small images of Debian leave documentation out even when the package is installed.
    say "fetching vtest.avi (Debian's opencv-doc)"
    mkdir -p "$fetched"
    as_root apt-get update -qq >&2
    (cd "$fetched" && apt-get download -qq opencv-doc >&2 && dpkg-deb -x opencv-doc_*.deb . && rm -f opencv-doc_*.deb)
  fi
  if [ -f "$installed" ]; then echo "$installed"; else echo "$fetched$installed"; fi
}

libtorch() {
  if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then echo "$CMAKE_PREFIX_PATH"; return; fi
  for python in .venv/bin/python python3; do
    local prefix
    prefix=$(torch_of "$python")
    if [ -n "$prefix" ]; then echo "$prefix"; return; fi
  done
  say "fetching LibTorch $torch_version into .venv (about 5 GB on disk)"
  python3 -m venv .venv >&2
  # onnxruntime (with numpy) is for the test of exported files, which is skipped without it.
  .venv/bin/pip install --quiet --disable-pip-version-check "torch==$torch_version" onnxruntime numpy >&2
  torch_of .venv/bin/python
}

if [ "${1:-}" = --video ]; then video; exit; fi

if is_debian; then
  need "${packages[@]}"
else
  missing=
  for tool in c++ cmake ninja python3; do command -v "$tool" >/dev/null || missing+=" $tool"; done
  for header in gdal_priv.h onnx/checker.h google/protobuf/message.h opencv2/dnn.hpp boost/program_options.hpp nlohmann/json.hpp gtest/gtest.h; do
    echo "#include <$header>" | c++ -std=c++17 -isystem /usr/include/opencv4 \
      -isystem /usr/local/include/opencv4 -isystem /usr/include/gdal -fsyntax-only -x c++ - 2>/dev/null || missing+=" <$header>"
  done
  if [ -n "$missing" ]; then
    say "not a Debian machine, and missing:$missing; please install a C++17 compiler, cmake >= 3.22, ninja, python3, OpenCV >= 4.6 (dnn), Boost.Program_options, nlohmann-json, GDAL >= 3.6, ONNX >= 1.12 with protobuf, and GoogleTest"
    exit 1
  fi
fi
libtorch
