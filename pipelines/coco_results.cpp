#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_results.h>
#include <hornet/pipelines/internal/coco_json.h>

namespace hornet {
namespace {

using namespace internal;
using nlohmann::json;

cv::Rect2d parse_found_box(const json& value) {
  array_of(value, 4, "bbox");
  return {number(value[0], "bbox"), number(value[1], "bbox"), number(value[2], "bbox"),
          number(value[3], "bbox")};
}

CocoResult parse_result(const json& object) {
  if (!object.is_object()) fail_input("it is not an object");
  CocoResult result;
  result.image_id = integer(member(object, "image_id"), "image_id");
  result.category_id = integer(member(object, "category_id"), "category_id");
  result.score = number(member(object, "score"), "score");
  if (object.contains("bbox")) result.box = parse_found_box(object["bbox"]);
  if (object.contains("segmentation")) result.mask = run_length_mask(object["segmentation"]);
  if (!result.box && !result.mask) fail_input("it has neither 'bbox' nor 'segmentation'");
  return result;
}

}  // namespace

CocoResult to_coco_result(const Instance& found, int64_t image_id, int64_t category_id,
                          cv::Size image) {
  CocoResult result;
  result.image_id = image_id;
  result.category_id = category_id;
  result.score = found.score;
  result.box = cv::Rect2d(found.box);
  result.mask = RunLengthMask{image, run_lengths(found.mask, image)};
  return result;
}

std::vector<CocoResult> read_coco_results(const std::string& text, const std::string& name) {
  const json document = parse_document(text, name);
  if (!document.is_array()) {
    fail_input(name + ": not a COCO results file (expected a JSON array)");
  }
  std::vector<CocoResult> results;
  results.reserve(document.size());
  for (const json& object : document) {
    try {
      results.push_back(parse_result(object));
    } catch (const Error& error) {
      fail_input(name + ": result " + std::to_string(results.size()) + ": " + error.what());
    }
  }
  return results;
}

std::vector<CocoResult> read_coco_results_file(const std::filesystem::path& file) {
  return read_coco_results(read_text(file), file.string());
}

}  // namespace hornet
