#include "demos/image_files.h"

#include <hornet/backbone/error.h>

#include <algorithm>
#include <cctype>
#include <string>

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

bool is_one_of(const std::string& extension, const std::vector<std::string>& known) {
  return std::find(known.begin(), known.end(), extension) != known.end();
}

}  // namespace

bool has_image_extension(const fs::path& path) {
  static const std::vector<std::string> known = {".jpg", ".jpeg", ".png", ".bmp",
                                                 ".tif", ".tiff", ".webp"};
  return is_one_of(lower_extension(path), known);
}

std::vector<fs::path> images_in(const fs::path& folder, ImageFiles which) {
  static const std::vector<std::string> more = {".jp2", ".vrt"};
  const bool rasters = which == ImageFiles::kRasters;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool known = has_image_extension(entry.path()) ||
                       (rasters && is_one_of(lower_extension(entry.path()), more));
    if (known && entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) {
    throw Error(ErrorCode::kInput, folder.string() +
                                       ": the folder has no images (.jpg, .png, .bmp, .tif, " +
                                       (rasters ? ".jp2, .vrt " : "") + "or .webp)");
  }
  return paths;
}

}  // namespace hornet::cli
