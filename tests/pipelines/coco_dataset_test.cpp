#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_dataset.h>

#include <nlohmann/json.hpp>

#include "tests/pipelines/temporary_folder.h"

namespace hornet {
namespace {

// A file around one annotation, of an image of 4x3 pixels.
std::string around(const std::string& annotation) {
  return R"({"images": [{"id": 3, "file_name": "a.jpg", "width": 4, "height": 3}],
             "categories": [{"id": 90, "name": "leaf"}, {"id": 1}],
             "annotations": [)" +
         annotation + "]}";
}

CocoAnnotation read_one(const std::string& members) {
  const std::string head = R"({"id": 17, "image_id": 3, "category_id": 90, )";
  const CocoDataset data = parse_coco_dataset(around(head + members + "}"), "one.json");
  EXPECT_EQ(data.annotations.size(), 1u);
  return data.annotations.at(0);
}

std::string refusal(const std::string& text) {
  try {
    parse_coco_dataset(text, "bad.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInput);
    return error.what();
  }
  return "nothing refused";
}

void expect_refused(const std::string& members, const std::string& part) {
  const std::string head = R"({"id": 17, "image_id": 3, "category_id": 90, )";
  const std::string message = refusal(around(head + members + "}"));
  EXPECT_EQ(message.find("bad.json: annotation 17: "), 0u) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(CocoDataset, HoldsImagesAndSortedCategories) {
  const CocoDataset data = parse_coco_dataset(around(""), "d.json");
  EXPECT_EQ(data.image(3).file_name, "a.jpg");
  EXPECT_EQ(data.image(3).size, cv::Size(4, 3));
  ASSERT_EQ(data.categories.size(), 2u);
  EXPECT_EQ(data.categories[0].name, "category 1");
  EXPECT_EQ(data.categories[1].name, "leaf");
  EXPECT_TRUE(data.annotations.empty());
}

TEST(CocoDataset, ReadsMasksInEveryForm) {
  const cv::Size image(4, 3);
  const std::vector<uint32_t> counts = {3, 6, 3};  // the two columns in the middle
  const std::string box = R"("bbox": [1, 0, 2, 3], "area": 6, "segmentation": )";
  for (const char* mask :
       {R"([[1, 0, 3, 0, 3, 3, 1, 3]])", R"([[1, 0, 2, 0, 2, 3, 1, 3], [2, 0, 3, 0, 3, 3, 2, 3]])",
        R"({"size": [3, 4], "counts": [3, 6, 3]})", R"({"size": [3, 4], "counts": "363"})"}) {
    const CocoAnnotation object = read_one(box + mask);
    ASSERT_TRUE(object.has_mask()) << mask;
    EXPECT_EQ(mask_of(object, image).counts, counts) << mask;
  }
}

TEST(CocoDataset, CompletesWhatIsMissing) {
  const CocoAnnotation boxed = read_one(R"("bbox": [0, 0, 2, 1.5], "segmentation": [])");
  EXPECT_FALSE(boxed.has_mask());
  EXPECT_EQ(boxed.area, 3);
  EXPECT_FALSE(boxed.crowd);
  EXPECT_THROW(mask_of(boxed, {4, 3}), Error);
  const CocoAnnotation masked =
      read_one(R"("segmentation": {"size": [3, 4], "counts": [4, 1, 2, 2, 3]})");
  EXPECT_EQ(masked.box, cv::Rect2d(1, 1, 2, 2));
  EXPECT_EQ(masked.area, 3);
  EXPECT_EQ(read_one(R"("bbox": [0, 0, 2, 1], "segmentation": null)").area, 2);
  EXPECT_EQ(read_one(R"("bbox": [0, 0, 2, 1], "segmentation": [[1, 2, 3, 4]])").polygons.size(),
            0u);
}

TEST(CocoDataset, TakesNumbersWrittenAsText) {
  const CocoAnnotation object = read_one(R"("bbox": ["1", "0.5", 2, 1], "area": "1.5",
      "iscrowd": "1", "segmentation": [["1", 0, 3, "0", 3, 3]])");
  EXPECT_EQ(object.box, cv::Rect2d(1, 0.5, 2, 1));
  EXPECT_EQ(object.area, 1.5);
  EXPECT_TRUE(object.crowd);
  EXPECT_EQ(object.polygons[0][0], cv::Point2d(1, 0));
  EXPECT_TRUE(read_one(R"("bbox": [0, 0, 1, 1], "iscrowd": true)").crowd);
  const CocoDataset data = parse_coco_dataset(
      around(R"({"id": "17", "image_id": 3.0, "category_id": "90", "bbox": [0, 0, 1, 1]})"), "");
  EXPECT_EQ(data.annotations.at(0).id, 17);
}

TEST(CocoDataset, CountsStrays) {
  const std::string box = R"("bbox": [0, 0, 1, 1]})", stray = R"({"id": 1, "image_id": 4,
      "category_id": 90, )" + box,
                    unknown = R"({"id": 2, "image_id": 3, "category_id": 2, )" + box,
                    known = R"({"id": 3, "image_id": 3, "category_id": 1, )" + box;
  const CocoDataset data = parse_coco_dataset(around(stray + "," + unknown + "," + known), "");
  EXPECT_EQ(data.strays, 2);
  ASSERT_EQ(data.annotations.size(), 1u);
  EXPECT_EQ(data.annotations[0].id, 3);
  EXPECT_NE(refusal(around(stray)).find("none of its 1 annotations"), std::string::npos);
}

TEST(CocoDataset, NamesTheAnnotationThatIsWrong) {
  expect_refused(R"("iscrowd": 0)", "neither 'bbox' nor 'segmentation'");
  expect_refused(R"("bbox": [1, 2, 3])", "'bbox' is not an array of 4");
  expect_refused(R"("bbox": [1, 2, 3, "x"])", "'bbox' is not a number");
  expect_refused(R"("bbox": [1, 2, 3, "inf"])", "'bbox' is not a number");
  expect_refused(R"("bbox": [1, 2, -3, 1])", "negative");
  expect_refused(R"("bbox": [1, 2, 3, 1], "area": [])", "'area' is not a number");
  expect_refused(R"("bbox": [1, 2, 3, 1], "iscrowd": "no")", "'iscrowd' is not an integer");
  expect_refused(R"("bbox": [1, 2, 3, 1], "segmentation": 5)", "neither polygons nor run lengths");
  expect_refused(R"("bbox": [1, 2, 3, 1], "segmentation": [[1, 2, 3]])", "x, y, x, y");
  expect_refused(R"("bbox": [1, 2, 3, 1], "segmentation": [1, 2, 3, 4, 5, 6])", "polygon");
  expect_refused(R"("segmentation": [[1, 2, 3, 1e300, 5, 6]])", "10^8");
  expect_refused(R"("segmentation": {"size": [4, 3], "counts": [12]})",
                 "3x4 pixels, but its image");
  expect_refused(R"("segmentation": {"size": [3, 4], "counts": [11]})", "do not add up");
  expect_refused(R"("segmentation": {"size": [3, 4], "counts": [-1, 13]})", "no run length");
  expect_refused(R"("segmentation": {"size": [3, 4], "counts": 7})", "'counts'");
  expect_refused(R"("segmentation": {"size": [3, 4], "counts": "\u0001"})", "broken");
}

TEST(CocoDataset, NamesOtherEntriesThatAreWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "no JSON object"},
      {"{", "broken JSON at byte 2 of 1"},
      {"{}", "no array 'images'"},
      {R"({"images": [], "categories": []})", "no array 'annotations'"},
      {R"({"images": [3]})", "entry 0 of 'images': it is not an object"},
      {R"({"images": [{}]})", "entry 0 of 'images': 'id' is missing"},
      {R"({"images": [{"id": 1}, {"id": 1}]})", "image 1: this 'id' is there twice"},
      {R"({"images": [{"id": "x"}]})", "image \"x\": 'id' is not an integer"},
      {R"({"images": [{"id": 1e400}]})", "too large"},
      {R"({"images": [{"id": 1, "width": 65536, "height": 65536}]})", "2^30"},
      {R"({"images": [{"id": 1, "width": 5}]})", "'height' is missing"},
      {R"({"images": [{"id": 1, "file_name": 5}]})", "'file_name' is not a string"},
      {around(R"({"id": 18446744073709551615})"), "'id' is not an integer"},
      {around(R"({"id": 5, "image_id": 3})"), "annotation 5: 'category_id' is missing"},
  };
  for (const auto& [text, part] : cases) {
    EXPECT_NE(refusal(text).find(part), std::string::npos) << refusal(text);
  }
}

TEST(CocoDataset, PolygonsNeedTheImagesSize) {
  const std::string message = refusal(R"({"images": [{"id": 3}], "categories": [{"id": 1}],
      "annotations": [{"id": 9, "image_id": 3, "category_id": 1,
                       "segmentation": [[1, 0, 3, 0, 3, 3]]}]})");
  EXPECT_NE(message.find("annotation 9: its image has no 'width'"), std::string::npos) << message;
}

// The image of an annotation that cannot be read is known, so it can be left out.
TEST(CocoDataset, NotesDamagedImagesIfAsked) {
  const std::string text = R"({"images": [{"id": 3}, {"id": 4}], "categories": [{"id": 1}],
      "annotations": [{"id": 8, "image_id": 4, "category_id": 1, "bbox": [0, 0, 2, 2]},
                      {"id": 9, "image_id": 3, "category_id": 1, "bbox": [0, 0, -2, 2]}]})";
  EXPECT_NE(refusal(text).find("annotation 9"), std::string::npos);
  const CocoDataset data = parse_coco_dataset(text, "d.json", BadAnnotations::kNote);
  ASSERT_EQ(data.annotations.size(), 1u);
  EXPECT_EQ(data.annotations[0].id, 8);
  ASSERT_EQ(data.damaged.size(), 1u);
  EXPECT_NE(data.damaged.at(3).find("annotation 9: 'bbox' has a negative"), std::string::npos);
  EXPECT_THROW(
      parse_coco_dataset(around(R"({"id": 5, "image_id": "x"})"), "d.json", BadAnnotations::kNote),
      Error);
}

class CocoDatasetFile : public TemporaryFolder {};

TEST_F(CocoDatasetFile, IsNamed) {
  write_file(path("d.json"), around(""));
  EXPECT_EQ(read_coco_dataset(path("d.json")).name, path("d.json"));
  EXPECT_THROW(read_coco_dataset(path("none.json")), Error);
  EXPECT_THROW(read_coco_dataset(path("")), Error);
}

TEST(RunLengthMasks, HaveAreasAndBoxes) {
  const RunLengthMask a = {{4, 3}, {2, 3, 1, 4, 2}}, b = {{4, 3}, {0, 7, 0, 0, 5}},
                      none = {{4, 3}, {12}};
  EXPECT_EQ(area(a), 7);
  EXPECT_EQ(area(b), 7);
  EXPECT_EQ(area(none), 0);
  EXPECT_EQ(common_area(a, b), 4);
  EXPECT_EQ(common_area(b, a), 4);
  EXPECT_EQ(common_area(a, none), 0);
  EXPECT_EQ(common_area({}, a), 0);
  EXPECT_EQ(bounding_box(a), cv::Rect(0, 0, 4, 3));
  EXPECT_EQ(bounding_box({{4, 3}, {4, 2, 6}}), cv::Rect(1, 1, 1, 2));
  EXPECT_THROW(bounding_box({{4, 3}, {11}}), Error);
}

TEST(FillPolygons, OutsideAndTogether) {
  const Polygon left = {{0, 0}, {3, 0}, {3, 3}, {0, 3}}, right = {{2, 0}, {9, 0}, {9, 3}, {2, 3}};
  EXPECT_EQ(fill_polygons({left, right}, {4, 3}).counts, (std::vector<uint32_t>{0, 12}));
  EXPECT_EQ(fill_polygons({}, {4, 3}).counts, std::vector<uint32_t>{12});
  EXPECT_EQ(fill_polygons({{}, {{-9, -9}, {-1, -9}, {-5, 20}}}, {4, 3}).counts,
            std::vector<uint32_t>{12});
  const double far = 1e8;
  const Polygon huge = {{-far, -far}, {far, -far}, {far, far}, {-far, far}};
  EXPECT_EQ(fill_polygons({huge}, {4, 3}).counts, (std::vector<uint32_t>{0, 12}));
  EXPECT_THROW(fill_polygons({{{2 * far, 0}, {0, 0}, {1, 1}}}, {4, 3}), Error);
  EXPECT_THROW(fill_polygons({left}, {1 << 16, 1 << 16}), Error);
}

}  // namespace
}  // namespace hornet
