// The twelve figures against pycocotools', and what it would crash on.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_eval.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace hornet {
namespace {

using nlohmann::json;

// The fixture, or the file of the same kind that HORNET_COCO_EVAL names.
const json& fixture() {
  static const json document = [] {
    const char* other = std::getenv("HORNET_COCO_EVAL");
    std::ifstream stream(other ? other : HORNET_TEST_DATA "/coco_eval.json");
    return json::parse(stream);
  }();
  return document;
}

void expect_figures(const CocoFigures& figures, const json& expected, const std::string& what) {
  ASSERT_EQ(expected.size(), kNumCocoFigures);
  for (size_t i = 0; i < kNumCocoFigures; ++i) {
    EXPECT_NEAR(figures[i], expected[i].get<double>(), 2e-9) << kCocoFigures[i] << " of " << what;
  }
}

TEST(CocoEval, EqualsPycocotoolsOnRandomCases) {
  ASSERT_GE(fixture()["cases"].size(), 20u);
  for (size_t i = 0; i < fixture()["cases"].size(); ++i) {
    const json& known = fixture()["cases"][i];
    const CocoDataset data = parse_coco_dataset(known["data"].dump(), "data");
    const auto results = read_coco_results(known["results"].dump());
    for (const CocoIou iou : {CocoIou::kBoxes, CocoIou::kMasks}) {
      const std::string what = std::string(iou_name(iou)) + " in case " + std::to_string(i);
      expect_figures(evaluate_coco(data, results, iou).figures, known[iou_name(iou)], what);
    }
  }
}

CocoDataset two_objects() {
  return parse_coco_dataset(R"({"images": [{"id": 7, "width": 40, "height": 30}, {"id": 8}],
      "categories": [{"id": 5, "name": "leaf"}, {"id": 2, "name": "stem"}],
      "annotations": [{"id": 0, "image_id": 7, "category_id": 5, "bbox": [1, 2, 10, 10]},
                      {"id": 1, "image_id": 8, "category_id": 5, "bbox": [0, 0, 10, 10]}]})",
                            "two.json");
}

CocoResult boxed(int64_t image, cv::Rect2d box, double score, int64_t category = 5) {
  CocoResult result;
  result.image_id = image;
  result.category_id = category;
  result.score = score;
  result.box = box;
  return result;
}

TEST(CocoEval, ByHand) {
  // Precision is 1 up to the recall 1/2, which 51 of the 101 points do not exceed; the wrong box
  // of the second image comes last.
  const std::vector<CocoResult> results = {boxed(8, {20, 20, 5, 5}, 0.1),
                                           boxed(7, {1, 2, 10, 8}, 0.9)};  // IoU 0.8
  const CocoScores scores = evaluate_coco(two_objects(), results, CocoIou::kBoxes);
  EXPECT_DOUBLE_EQ(scores.figures[1], 51 / 101.0);
  EXPECT_DOUBLE_EQ(scores.figures[0], 51 / 101.0 * 7 / 10);  // found at 0.5, ... 0.8
  EXPECT_DOUBLE_EQ(scores.figures[8], 0.5 * 7 / 10);
  ASSERT_EQ(scores.categories.size(), 2u);  // by id
  EXPECT_EQ(scores.categories[0].category.name, "stem");
  EXPECT_EQ(scores.categories[0].objects, 0);
  EXPECT_EQ(scores.categories[0].figures[0], -1);
  EXPECT_EQ(scores.categories[1].objects, 2);
  EXPECT_EQ(scores.categories[1].figures, scores.figures);
}

TEST(CocoEval, OfNothing) {
  const CocoScores scores = evaluate_coco(two_objects(), {}, CocoIou::kBoxes);
  EXPECT_EQ(scores.figures[0], 0);
  EXPECT_EQ(scores.figures[4], -1);  // no medium objects
  const CocoScores other = evaluate_coco(two_objects(), {boxed(7, {}, 1, 99)}, CocoIou::kBoxes);
  EXPECT_EQ(other.figures, scores.figures);
  EXPECT_EQ(evaluate_coco({}, {}, CocoIou::kMasks).figures[0], -1);
}

TEST(CocoEval, RefusesWhatDoesNotBelong) {
  const auto message = [](const std::vector<CocoResult>& results, CocoIou iou) -> std::string {
    try {
      evaluate_coco(two_objects(), results, iou);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(message({boxed(9, {}, 1)}, CocoIou::kBoxes), "image_id 9 is not in two.json"));
  EXPECT_TRUE(has(message({}, CocoIou::kMasks), "two.json: annotation 0: it has no 'segm"));
}

TEST(FillPolygons, EqualsCocoapi) {
  ASSERT_GE(fixture()["polygons"].size(), 50u);
  for (const json& known : fixture()["polygons"]) {
    Polygon polygon;
    const auto corners = known["corners"].get<std::vector<double>>();
    for (size_t i = 0; i < corners.size(); i += 2) polygon.emplace_back(corners[i], corners[i + 1]);
    const cv::Size size(known["size"][1], known["size"][0]);
    EXPECT_EQ(encode_counts(fill_polygons({polygon}, size).counts), known["counts"]) << known;
  }
}

}  // namespace
}  // namespace hornet
