// The reading side of results: any text is either a results file or a hornet::Error.
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_results.h>
#include <hornet/pipelines/results.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

constexpr int64_t kMaxPixels = 1 << 22;  // keeps one input fast

void check_round_trip(const std::vector<uint32_t>& counts, cv::Size image) {
  const std::vector<uint32_t> canonical =
      hornet::run_lengths(hornet::from_run_lengths(counts, image), image);
  const std::string text = hornet::encode_counts(canonical);
  if (hornet::decode_counts(text) != canonical) std::abort();
}

void fuzz_results(const std::string& text) {
  for (const hornet::CocoResult& result : hornet::read_coco_results(text)) {
    if (!result.mask) continue;
    const cv::Size image = result.mask->size;
    if (int64_t{image.width} * image.height > kMaxPixels) continue;
    check_round_trip(result.mask->counts, image);
  }
}

// The first two bytes are a size, the rest are counts.
void fuzz_counts(const std::string& text) {
  if (text.size() < 2) return;
  const cv::Size image(static_cast<uint8_t>(text[0]), static_cast<uint8_t>(text[1]));
  check_round_trip(hornet::decode_counts(text.substr(2)), image);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (void (*target)(const std::string&) : {fuzz_results, fuzz_counts}) {
    try {
      target(text);
    } catch (const hornet::Error&) {
    }
  }
  return 0;
}
