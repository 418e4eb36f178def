// COCO files with their images: labels, boxes, masks, the cache, and what is refused.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/training/annotated_images.h>

#include <opencv2/imgcodecs.hpp>

#include "tests/pipelines/temporary_folder.h"
#include "tests/weights/helpers.h"

namespace hornet {
namespace {

using weights::expect_contains;

constexpr int64_t kRoom = 1 << 20;

// A file of categories 3 "cat", 7 "dog" and 9 "eel", and of the images and annotations given.
CocoDataset dataset(const std::string& images, const std::string& annotations) {
  return parse_coco_dataset(
      R"({"categories":[{"id":7,"name":"dog"},{"id":3,"name":"cat"},{"id":9,"name":"eel"}],)"
      R"("images":[)" +
          images + R"(],"annotations":[)" + annotations + "]}",
      "objects.json");
}

const char* const kImage = R"({"id":5,"file_name":"a.png","width":40,"height":30})";

// One annotation of image 5 with what differs between tests.
std::string annotation(int id, int category, const std::string& rest) {
  return R"({"id":)" + std::to_string(id) + R"(,"image_id":5,"category_id":)" +
         std::to_string(category) + "," + rest + "}";
}

class AnnotatedImagesTest : public TemporaryFolder {
 protected:
  AnnotatedImagesTest() { write_image("a.png", {40, 30}); }

  void write_image(const std::string& name, cv::Size size) {
    cv::imwrite(path(name).string(), cv::Mat(size, CV_8UC3, cv::Scalar(10, 20, 30)));
  }

  AnnotatedImages images(const std::string& annotations, std::vector<std::string> classes = {},
                         const std::string& list = kImage) {
    return AnnotatedImages(dataset(list, annotations), path(""), std::move(classes), kRoom);
  }

  std::string read_error(const AnnotatedImages& images) {
    return weights::error_of([&] { images.read(0); }, ErrorCode::kInput);
  }

  std::string class_error(std::vector<std::string> classes) {
    return weights::error_of([&] { images("", std::move(classes)); }, ErrorCode::kInput);
  }
};

TEST_F(AnnotatedImagesTest, LabelsAreCategoriesById) {
  const AnnotatedImages all = images(annotation(1, 9, R"("bbox":[1,2,3,4])") + "," +
                                     annotation(2, 3, R"("bbox":[0.5,2,3.25,4],"iscrowd":1)"));
  EXPECT_EQ(all.classes(), (std::vector<std::string>{"cat", "dog", "eel"}));
  const AnnotatedImage sample = all.read(0);
  EXPECT_EQ(sample.bgr.size(), cv::Size(40, 30));
  ASSERT_EQ(sample.objects.size(), 2);
  EXPECT_EQ(sample.objects[0].label, 2);
  EXPECT_EQ(sample.objects[0].box, cv::Rect2d(1, 2, 3, 4));
  EXPECT_FALSE(sample.objects[0].ignored);
  EXPECT_FALSE(sample.objects[0].mask);
  EXPECT_EQ(sample.objects[1].label, 0);
  EXPECT_EQ(sample.objects[1].box, cv::Rect2d(0.5, 2, 3.25, 4));
  EXPECT_TRUE(sample.objects[1].ignored);
}

TEST_F(AnnotatedImagesTest, CategoriesOfOneNameAreOne) {
  const CocoDataset data = parse_coco_dataset(
      std::string(R"({"categories":[{"id":0,"name":"cat"},{"id":3,"name":"eel"},)") +
          R"({"id":7,"name":"cat"}],"images":[)" + kImage + R"(],"annotations":[)" +
          annotation(1, 7, R"("bbox":[1,2,3,4])") + "," + annotation(2, 0, R"("bbox":[1,2,3,5])") +
          "," + annotation(3, 3, R"("bbox":[1,2,3,6])") + "]}",
      "merged.json");
  const AnnotatedImages merged(data, path(""), {}, kRoom);
  EXPECT_EQ(merged.classes(), (std::vector<std::string>{"cat", "eel"}));
  const auto objects = merged.read(0).objects;
  ASSERT_EQ(objects.size(), 3);
  EXPECT_EQ(objects[0].label, 0);
  EXPECT_EQ(objects[1].label, 0);
  EXPECT_EQ(objects[2].label, 1);
  EXPECT_EQ(merged.dataset().categories.size(), 2);
  for (const CocoAnnotation& object : merged.dataset().annotations) {
    EXPECT_EQ(object.category_id, object.id == 3 ? 3 : 0);
  }
  EXPECT_EQ(AnnotatedImages(data, path(""), merged.classes(), kRoom).classes(), merged.classes());
}

TEST_F(AnnotatedImagesTest, ClassesChooseAmongCategories) {
  const AnnotatedImages some = images(
      annotation(1, 9, R"("bbox":[1,2,3,4])") + "," + annotation(2, 3, R"("bbox":[1,2,3,5])") +
          "," + annotation(3, 7, R"("bbox":[1,2,0,0])"),  // bad, but not asked for
      {"eel", "cat"});
  const auto objects = some.read(0).objects;
  ASSERT_EQ(objects.size(), 2);
  EXPECT_EQ(objects[0].label, 0);
  EXPECT_EQ(objects[1].label, 1);
  // What is validated is what was chosen.
  EXPECT_EQ(some.dataset().categories.size(), 2);
  EXPECT_EQ(some.dataset().annotations.size(), 2);
  EXPECT_TRUE(some.left_out().empty());
  expect_contains(class_error({"cat", "cow"}),
                  "objects.json: has no category 'cow', only cat, dog, eel");
  expect_contains(class_error({"cat", "cat"}), "the class 'cat' is named twice");
}

TEST_F(AnnotatedImagesTest, MasksAreCropsOfPixels) {
  const AnnotatedImages some = images(
      annotation(1, 3, R"("bbox":[4,5,6,3],"segmentation":[[4,5,10,5,10,8,4,8]])") + "," +
      annotation(2, 3,
                 R"("bbox":[0,29,1,1],"segmentation":{"size":[30,40],"counts":[29,1,1170]})") +
      "," + annotation(3, 3, R"("bbox":[4,5,1,1],"segmentation":[[4,5,4,6,4,7]])"));
  const auto objects = some.read(0).objects;
  ASSERT_TRUE(objects[0].mask);
  EXPECT_EQ(objects[0].mask->region, cv::Rect(4, 5, 6, 3));
  EXPECT_EQ(cv::countNonZero(objects[0].mask->pixels == 1), 18);
  ASSERT_TRUE(objects[1].mask);
  EXPECT_EQ(objects[1].mask->region, cv::Rect(0, 29, 1, 1));
  EXPECT_FALSE(objects[2].mask);  // its polygon covers no pixel
  EXPECT_EQ(some.read(0).objects[0].mask->pixels.data, objects[0].mask->pixels.data);
  EXPECT_EQ(some.with_masks(), std::vector<size_t>{0});
}

TEST_F(AnnotatedImagesTest, BoxesAreClippedToTheImage) {
  const auto objects = images(annotation(1, 3, R"("bbox":[-2,28.5,10,9])") + "," +
                              annotation(2, 3, R"("bbox":[-9,-9,99,99])"))
                           .read(0)
                           .objects;
  EXPECT_EQ(objects[0].box, cv::Rect2d(0, 28.5, 8, 1.5));
  EXPECT_EQ(objects[1].box, cv::Rect2d(0, 0, 40, 30));
}

TEST_F(AnnotatedImagesTest, BoxesThatShowNothingAreLeftOut) {
  const AnnotatedImages some = images(annotation(17, 3, R"("bbox":[1,2,3,0])") + "," +
                                      annotation(18, 3, R"("bbox":[1,2,3,4])") + "," +
                                      annotation(19, 3, R"("bbox":[40,2,3,4])"));
  EXPECT_EQ(some.left_out(), (std::vector<int64_t>{17, 19}));
  ASSERT_EQ(some.read(0).objects.size(), 1);
  EXPECT_EQ(some.read(0).objects[0].box, cv::Rect2d(1, 2, 3, 4));
}

TEST_F(AnnotatedImagesTest, BadBoxesAndMasksNameTheAnnotation) {
  const auto error = [&](const std::string& rest) {
    return read_error(images(annotation(17, 3, rest)));
  };
  const std::string place = "objects.json: annotation 17: ";
  const AnnotatedImages unsized(
      dataset(R"({"id":5,"file_name":"a.png"})", annotation(17, 3, R"("bbox":[40,2,3,4])")),
      path(""), {}, kRoom);
  expect_contains(read_error(unsized), place + "its box lies outside of the image of 40x30 pixels");
  expect_contains(error(R"("bbox":[1,2,3,4],"area":5,"segmentation":[[1e9,0,3,4,5,6]])"),
                  place + "a polygon's corner");
  CocoDataset data = dataset(kImage, annotation(17, 3, R"("bbox":[1,2,3,4])"));
  data.annotations[0].box.width = std::nan("");
  expect_contains(read_error(AnnotatedImages(data, path(""), {}, kRoom)),
                  place + "its box is not finite");
  data = dataset(kImage, annotation(3, 3, R"("bbox":[4,5,1,1],"segmentation":[[4,5,4,6,4,7]])"));
  EXPECT_EQ(AnnotatedImages(data, path(""), {}, kRoom).with_masks(), std::vector<size_t>{0});
  data.damaged[5] = place + "it is noted";
  const AnnotatedImages noted(data, path(""), {}, kRoom);
  expect_contains(read_error(noted), place + "it is noted");
  EXPECT_TRUE(noted.with_masks().empty());
}

TEST_F(AnnotatedImagesTest, MasksOfAnotherSizeAreRefused) {
  // The file does not say how large its image is; 30 x 40 pixels would add up.
  const AnnotatedImages some = images(
      annotation(17, 3, R"("bbox":[1,2,3,4],"segmentation":{"size":[40,30],"counts":[1200]})"), {},
      R"({"id":5,"file_name":"a.png"})");
  expect_contains(read_error(some), "its mask is for 30x40 pixels, but its image has 40x30");
}

TEST_F(AnnotatedImagesTest, BadImagesAreNamed) {
  const auto error = [&](const std::string& image) { return read_error(images("", {}, image)); };
  expect_contains(error(R"({"id":5,"file_name":"b.png","width":40,"height":30})"),
                  "b.png: no such file");
  write_file(path("b.png"), "no image");
  expect_contains(error(R"({"id":5,"file_name":"b.png","width":40,"height":30})"), "b.png");
  expect_contains(error(R"({"id":5,"file_name":"a.png","width":30,"height":40})"),
                  "a.png: has 40x30 pixels, but image 5 of objects.json has 30x40");
  expect_contains(error(R"({"id":5})"), "objects.json: image 5: it has no 'file_name'");
  expect_contains(weights::error_of([&] { images("", {}, ""); }, ErrorCode::kInput),
                  "objects.json: lists no images");
}

TEST_F(AnnotatedImagesTest, ImagesMayHaveNoObjects) {
  const AnnotatedImages some = images("");
  EXPECT_EQ(some.size(), 1);
  EXPECT_TRUE(some.read(0).objects.empty());
  EXPECT_TRUE(some.with_masks().empty());
}

TEST_F(AnnotatedImagesTest, EntriesOfOneFileShareItsPixels) {
  const AnnotatedImages some =
      images(annotation(1, 3, R"("bbox":[1,2,3,4])") + R"(,{"id":2,"image_id":6,"category_id":9,)"
                                                       R"("bbox":[5,6,7,8]})",
             {}, std::string(kImage) + R"(,{"id":6,"file_name":"a.png"})");
  const AnnotatedImage first = some.read(0), second = some.read(1);
  EXPECT_EQ(first.bgr.data, second.bgr.data);
  EXPECT_EQ(first.objects[0].label, 0);
  EXPECT_EQ(second.objects[0].label, 2);
  EXPECT_EQ(some.path(1), path("a.png"));
}

TEST_F(AnnotatedImagesTest, ImagesAreReadOnceWhileThereIsRoom) {
  write_image("b.png", {40, 30});
  const CocoDataset data =
      dataset(std::string(kImage) + R"(,{"id":6,"file_name":"b.png","width":40,"height":30})", "");
  const AnnotatedImages some(data, path(""), {}, 40 * 30 * 3 * 3 / 2);
  some.read(0);
  some.read(1);
  std::filesystem::remove(path("a.png"));
  std::filesystem::remove(path("b.png"));
  EXPECT_EQ(some.read(0).bgr.size(), cv::Size(40, 30));
  EXPECT_THROW(some.read(1), Error);
}

}  // namespace
}  // namespace hornet
