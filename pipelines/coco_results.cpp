#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_results.h>
#include <hornet/pipelines/results.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

namespace hornet {
namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::kInput, what); }

const json& member(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail(std::string("'") + key + "' is missing");
  return *found;
}

int64_t integer(const json& value, const char* key) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits) fail(std::string("'") + key + "' is not an integer");
  return value.get<int64_t>();
}

double number(const json& value, const char* key) {
  if (!value.is_number()) fail(std::string("'") + key + "' is not a number");
  return value.get<double>();
}

const json& array_of(const json& value, size_t size, const char* key) {
  if (!value.is_array() || value.size() != size) {
    fail(std::string("'") + key + "' is not an array of " + std::to_string(size));
  }
  return value;
}

cv::Rect2d parse_box(const json& value) {
  array_of(value, 4, "bbox");
  return {number(value[0], "bbox"), number(value[1], "bbox"), number(value[2], "bbox"),
          number(value[3], "bbox")};
}

int side(const json& value) {
  const int64_t pixels = integer(value, "size");
  if (pixels < 0 || pixels > std::numeric_limits<int>::max()) fail("'size' is not a size");
  return static_cast<int>(pixels);
}

RunLengthMask parse_mask(const json& value) {
  if (!value.is_object()) fail("'segmentation' is not {size, counts}");
  const json& size = array_of(member(value, "size"), 2, "size");
  const json& counts = member(value, "counts");
  if (!counts.is_string()) fail("'counts' is not compressed run lengths");
  RunLengthMask mask;
  mask.size = {side(size[1]), side(size[0])};
  mask.counts = decode_counts(counts.get_ref<const std::string&>());
  const uint64_t pixels = uint64_t(mask.size.width) * uint64_t(mask.size.height);
  if (std::accumulate(mask.counts.begin(), mask.counts.end(), uint64_t{0}) != pixels) {
    fail("'counts' do not add up to the " + std::to_string(pixels) + " pixels of 'size'");
  }
  return mask;
}

CocoResult parse_result(const json& object) {
  if (!object.is_object()) fail("it is not an object");
  CocoResult result;
  result.image_id = integer(member(object, "image_id"), "image_id");
  result.category_id = integer(member(object, "category_id"), "category_id");
  result.score = number(member(object, "score"), "score");
  if (object.contains("bbox")) result.box = parse_box(object["bbox"]);
  if (object.contains("segmentation")) result.mask = parse_mask(object["segmentation"]);
  if (!result.box && !result.mask) fail("it has neither 'bbox' nor 'segmentation'");
  return result;
}

}  // namespace

std::vector<CocoResult> read_coco_results(const std::string& text, const std::string& name) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_array()) {
    fail(name + ": not a COCO results file (expected a JSON array" +
         (document.is_discarded() ? ", found broken JSON)" : ")"));
  }
  std::vector<CocoResult> results;
  for (const json& object : document) {
    try {
      results.push_back(parse_result(object));
    } catch (const Error& error) {
      fail(name + ": result " + std::to_string(results.size()) + ": " + error.what());
    }
  }
  return results;
}

}  // namespace hornet
