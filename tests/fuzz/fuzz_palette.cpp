// Palette files: any text is either a palette, which survives being written and read again, or a
// hornet::Error.
#include <hornet/backbone/error.h>
#include <hornet/pipelines/palette.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const hornet::Palette palette = hornet::parse_palette(text, "fuzz.json");
    const std::string again = hornet::to_json(palette).dump();
    const hornet::Palette copy = hornet::parse_palette(again, "again.json");
    if (copy.names != palette.names || copy.colors != palette.colors) std::abort();
  } catch (const hornet::Error&) {
  }
  return 0;
}
