// The classes and colours that the benchmarks ADE20K, Cityscapes (training ids) and CamVid publish
// results with, in the order of their labels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hornet {

struct PaletteEntry {
  const char* name;
  uint8_t red, green, blue;
};

struct BuiltInPalette {
  const char* name;
  const PaletteEntry* entries;
  size_t size;
};

// Null if there is no palette of that name, or of that many classes.
const BuiltInPalette* built_in_palette(const std::string& name);
const BuiltInPalette* built_in_palette(int num_classes);

}  // namespace hornet
