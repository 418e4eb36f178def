// Lists of images and what belongs to them: a line each, as CamVid's, ADE20K's and ImageNet's lists
// have it.
//
//   val/0016E5_07959.jpg valannot/0016E5_07959.png        # an image and its label map
//   n01440764/ILSVRC2012_val_00000293.JPEG 0              # an image and its class
//
//   for (const hornet::ListedImage& listed : hornet::read_image_list("val.lst")) ...
//
// White space separates the two, or a tab alone where names have spaces. Paths are relative to the
// list's folder. Empty lines, and those that begin with #, are left out. Errors:
// hornet::Error(kInput) that names the file and the line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hornet {

struct ListedImage {
  std::filesystem::path image;
  std::string label;   // as it is written: a class, or the path of a label map
  size_t line_number;  // from 1
};

std::vector<ListedImage> read_image_list(const std::filesystem::path& list);

// The label of `listed` as the path that it is.
std::filesystem::path label_path(const std::filesystem::path& list, const ListedImage& listed);

}  // namespace hornet
