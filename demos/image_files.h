// Which files of a folder are images, by their extensions.
#pragma once

#include <filesystem>
#include <vector>

namespace hornet::cli {

// .jpg, .jpeg, .png, .bmp, .tif, .tiff or .webp, in either case: what OpenCV reads and writes.
bool has_image_extension(const std::filesystem::path& path);

enum class ImageFiles { kImages, kRasters };  // rasters: .jp2 and .vrt, too

// The images of a folder, sorted by name. Error(kInput) if there are none.
std::vector<std::filesystem::path> images_in(const std::filesystem::path& folder, ImageFiles which);

}  // namespace hornet::cli
