// The picture to look at: an image with the colours of its labels over it, made from the two files
// strip by strip. As .tif a tiled GeoTIFF with overviews, so that a viewer opens it at once; as
// .png, .jpg or what else OpenCV writes, an image in memory (at most 2^28 pixels).
#pragma once

#include <hornet/pipelines/palette.h>
#include <hornet/pipelines/raster_reader.h>

#include <filesystem>

namespace hornet {

// Throws Error(kOutput) unless an overlay of this size can be written under the name: by its
// extension, and the pixels and sides that its format can have.
void check_overlay_file(const std::filesystem::path& name, cv::Size size);

struct OverlayOptions {
  double opacity = 0.5;  // 0 shows the image, 1 the labels
};

// `labels` is a label raster of the same size. Writes to `output` as it is: callers give a partial
// file. `name` is the file's final name, whose extension decides and which errors name.
void write_overlay(RasterReader& image, const std::filesystem::path& labels, const Palette& palette,
                   const std::filesystem::path& output, const std::filesystem::path& name,
                   const Georeference& georeference, const OverlayOptions& options = {});

}  // namespace hornet
