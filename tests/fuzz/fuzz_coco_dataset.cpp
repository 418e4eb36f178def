// Annotation files: any text is either a data set or a hornet::Error, and what has been read can be
// evaluated.
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_eval.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using namespace hornet;

constexpr int64_t kMaxPixels = 1 << 22;  // keeps one input fast
constexpr size_t kMaxObjects = 64;

bool is_small(const CocoDataset& data) {
  if (data.annotations.size() > kMaxObjects) return false;
  for (const CocoImage& image : data.images) {
    if (int64_t{image.size.width} * image.size.height > kMaxPixels) return false;
  }
  return true;
}

// The annotations as results: what was found is there.
void fuzz_dataset(const std::string& text) {
  const CocoDataset data = parse_coco_dataset(text, "fuzz");
  if (!is_small(data)) return;
  std::vector<CocoResult> results;
  bool all_masked = true;
  for (const CocoAnnotation& object : data.annotations) {
    CocoResult result;
    result.image_id = object.image_id;
    result.category_id = object.category_id;
    result.score = object.area;
    result.box = object.box;
    all_masked = all_masked && object.has_mask();
    if (all_masked) result.mask = mask_of(object, data.image(object.image_id).size);
    results.push_back(result);
  }
  evaluate_coco(data, results, CocoIou::kBoxes);
  if (all_masked) evaluate_coco(data, results, CocoIou::kMasks);
}

// The first two bytes are a size, the rest are the corners of a polygon.
void fuzz_polygon(const std::string& text) {
  if (text.size() < 2) return;
  const cv::Size image(static_cast<uint8_t>(text[0]), static_cast<uint8_t>(text[1]));
  Polygon polygon;
  float corner[2];
  for (size_t at = 2; at + sizeof corner <= text.size(); at += sizeof corner) {
    std::memcpy(corner, text.data() + at, sizeof corner);
    polygon.emplace_back(corner[0], corner[1]);
  }
  const RunLengthMask mask = fill_polygons({polygon}, image);
  if (area(mask) != common_area(mask, mask)) std::abort();
  if (run_lengths(from_run_lengths(mask.counts, image), image) != mask.counts) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (void (*target)(const std::string&) : {fuzz_dataset, fuzz_polygon}) {
    try {
      target(text);
    } catch (const hornet::Error&) {
    }
  }
  return 0;
}
