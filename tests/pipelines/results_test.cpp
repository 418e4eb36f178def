#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/coco_results.h>
#include <hornet/pipelines/results.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

namespace hornet {
namespace {

struct KnownMask {
  std::vector<std::string> rows;
  std::string counts;  // what pycocotools.mask.encode gives
};

const std::vector<KnownMask>& known_masks() {
  static const std::vector<KnownMask> kMasks = {
      {{"01", "11"}, "13"},
      {{"01110", "00000", "01010", "10011", "11000", "10000", "01100"}, "331N00000140L05OM"},
      {{"110010101"}, "022OO000"},
      {{"1", "0", "1", "0", "1", "0", "0", "1", "0"}, "01100010O"},
      {{"111101111101010110010", "110001010010001000100", "010001100101010010100",
        "010111001101110000110", "001000110101011101001", "011110011000101100000",
        "001100110001001001000", "110100011011101101000", "111001101010010101010",
        "010000101100110100010", "111011100100001000001", "001001111110100000100",
        "000011101010110010101"},
       "0250LO13OM031M12NN010O10O27NI030M43LM30M0000061M1MN010O002000030NN31M1O00O7OI00000020"
       "02OOOO0130M0011N12NN080K0M24020KN213ON0L0"},
  };
  return kMasks;
}

cv::Mat canvas_of(const std::vector<std::string>& rows) {
  cv::Mat canvas(static_cast<int>(rows.size()), static_cast<int>(rows[0].size()), CV_8UC1);
  for (int y = 0; y < canvas.rows; ++y) {
    for (int x = 0; x < canvas.cols; ++x) canvas.at<uint8_t>(y, x) = rows[y][x] == '1';
  }
  return canvas;
}

cv::Mat canvas_of(const MaskCrop& mask, cv::Size image) {
  cv::Mat canvas = cv::Mat::zeros(image, CV_8UC1);
  if (!mask.region.empty()) mask.pixels.copyTo(canvas(mask.region));
  return canvas;
}

bool equal(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && cv::countNonZero(a != b) == 0;
}

// Counts as the definition reads.
std::vector<uint32_t> reference_counts(const cv::Mat& canvas) {
  std::vector<uint32_t> counts = {0};
  uint8_t current = 0;
  for (int x = 0; x < canvas.cols; ++x) {
    for (int y = 0; y < canvas.rows; ++y) {
      if (canvas.at<uint8_t>(y, x) != current) {
        counts.push_back(0);
        current = canvas.at<uint8_t>(y, x);
      }
      ++counts.back();
    }
  }
  return counts;
}

void expect_input_error(const std::function<void()>& action, const std::string& part) {
  try {
    action();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInput);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(RunLengths, MatchPycocotools) {
  for (const KnownMask& known : known_masks()) {
    const cv::Mat canvas = canvas_of(known.rows);
    const MaskCrop whole{cv::Rect({}, canvas.size()), canvas};
    EXPECT_EQ(encode_counts(run_lengths(whole, canvas.size())), known.counts);
    const MaskCrop back = from_run_lengths(decode_counts(known.counts), canvas.size());
    EXPECT_TRUE(equal(canvas_of(back, canvas.size()), canvas));
  }
}

TEST(RunLengths, OfADiscMatchPycocotools) {
  const cv::Size image(640, 480);
  MaskCrop disc{{240, 140, 121, 121}, cv::Mat(121, 121, CV_8UC1)};
  for (int y = 0; y < 121; ++y) {
    for (int x = 0; x < 121; ++x) {
      disc.pixels.at<uint8_t>(y, x) = (y - 60) * (y - 60) + (x - 60) * (x - 60) <= 2500;
    }
  }
  const std::string counts =
      "X\\e31f>b0B:H6K4L4L4L4L4M2M4M2N2N2N2N2N2N2N2N2N2O0O2N2O0O2O0O2O0O2O0O2O0O2O000O2O0000000O"
      "2O000000000000000O20N10000000000000001N100000001N10001N101N101N101N101N101N2N101N2N2N2N2N2"
      "N2N2N2N2N3L3N3L4L4L4L4L5J8F>^OQYW4";
  EXPECT_EQ(encode_counts(run_lengths(disc, image)), counts);
  const MaskCrop back = from_run_lengths(decode_counts(counts), image);
  EXPECT_EQ(back.region, cv::Rect(250, 150, 101, 101));
  EXPECT_TRUE(equal(canvas_of(back, image), canvas_of(disc, image)));
}

TEST(RunLengths, OfEmptyAndFullMasks) {
  const cv::Size image(640, 480);
  EXPECT_EQ(encode_counts(run_lengths({}, image)), "PP\\9");
  EXPECT_TRUE(from_run_lengths(decode_counts("PP\\9"), image).region.empty());
  const MaskCrop full{{0, 0, 640, 480}, cv::Mat::ones(image, CV_8UC1)};
  EXPECT_EQ(encode_counts(run_lengths(full, image)), "0PP\\9");
  EXPECT_EQ(from_run_lengths(decode_counts("0PP\\9"), image).region, full.region);
  EXPECT_EQ(run_lengths({}, {0, 0}), std::vector<uint32_t>{0});
}

TEST(RunLengths, OfRandomCropsEqualTheReferenceAndRoundTrip) {
  std::mt19937 random(7);
  const auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  for (int round = 0; round < 300; ++round) {
    const cv::Size image(1 + below(40), 1 + below(40));
    const cv::Point from(below(image.width), below(image.height));
    const cv::Size size(1 + below(image.width - from.x), 1 + below(image.height - from.y));
    MaskCrop mask{cv::Rect(from, size), cv::Mat(size, CV_8UC1)};
    const int sparsity = 1 + below(6);
    for (uint8_t& pixel : cv::Mat_<uint8_t>(mask.pixels)) pixel = below(sparsity + 1) == 0;
    const cv::Mat canvas = canvas_of(mask, image);
    const std::vector<uint32_t> counts = run_lengths(mask, image);
    ASSERT_EQ(counts, reference_counts(canvas));
    ASSERT_EQ(decode_counts(encode_counts(counts)), counts);
    ASSERT_TRUE(equal(canvas_of(from_run_lengths(counts, image), image), canvas));
  }
}

TEST(RunLengths, TextHoldsTheLargestCounts) {
  const std::vector<uint32_t> counts = {0, UINT32_MAX, 1, 0, UINT32_MAX, UINT32_MAX, 0};
  EXPECT_EQ(decode_counts(encode_counts(counts)), counts);
}

TEST(RunLengths, BrokenTextIsAnInputError) {
  EXPECT_TRUE(decode_counts("").empty());
  expect_input_error([] { decode_counts("1 3"); }, "broken at character 1");
  expect_input_error([] { decode_counts("13\x7f"); }, "broken at character 2");
  expect_input_error([] { decode_counts("13\xff"); }, "broken at character 2");
  expect_input_error([] { decode_counts("o"); }, "broken");
  expect_input_error([] { decode_counts("oooooooooooooo0"); }, "broken");
  expect_input_error([] { decode_counts("O"); }, "outside 0");
  expect_input_error([] { decode_counts("000ooooooO"); }, "outside 0");
}

TEST(RunLengths, ThatDoNotFitTheImageAreAnInputError) {
  expect_input_error([] { from_run_lengths({3, 2}, {2, 2}); }, "more than");
  expect_input_error([] { from_run_lengths({3}, {2, 2}); }, "less than");
  expect_input_error([] { from_run_lengths({UINT32_MAX, UINT32_MAX}, {2, 2}); }, "more than");
  expect_input_error([] { from_run_lengths({}, {INT32_MAX, INT32_MAX}); }, "outside");
  expect_input_error([] { from_run_lengths({}, {-1, -1}); }, "outside");
}

TEST(ClassTable, KnowsCocosClasses) {
  const ClassTable table = ClassTable::from_names({}, 80);
  EXPECT_EQ(table.name(0), "person");
  EXPECT_EQ(table.category_id(0), 1);
  EXPECT_EQ(table.name(79), "toothbrush");
  EXPECT_EQ(table.category_id(79), 90);
  EXPECT_EQ(table.category_id(11), 13);
  EXPECT_EQ(table.names.size(), 80u);
}

TEST(ClassTable, TakesNamesAndNumbersTheRest) {
  const ClassTable named = ClassTable::from_names({"leaf", "stem"}, 2);
  EXPECT_EQ(named.name(1), "stem");
  EXPECT_EQ(named.category_id(1), 2);
  EXPECT_EQ(ClassTable::from_names({}, 3).name(2), "class 2");
  EXPECT_EQ(ClassTable::from_names(std::vector<std::string>(80, "x"), 80).category_id(79), 90);
  EXPECT_THROW(ClassTable::from_names({"leaf"}, 2), Error);
}

Instance example_instance() {
  Instance instance;
  instance.box = {1.23456f, 2, 3.5f, 4};
  instance.score = 0.87654321f;
  instance.label = 2;
  instance.mask = {{1, 0, 1, 2}, cv::Mat::ones(2, 1, CV_8UC1)};
  return instance;
}

TEST(ToCoco, RoundsAndUsesCategoryIds) {
  const auto json = to_coco(example_instance(), {2, 2}, ClassTable::from_names({}, 80));
  EXPECT_EQ(json.dump(), R"({"category_id":3,"bbox":[1.235,2.0,3.5,4.0],"score":0.876543,)"
                         R"("segmentation":{"size":[2,2],"counts":"22"}})");
}

TEST(Instance, PrintsItself) {
  std::ostringstream text;
  text << example_instance();
  EXPECT_EQ(text.str(), "label 2 score 0.877 box [1.2 2.0 3.5 4.0] mask 2 px");
}

TEST(CocoResults, AreReadBack) {
  nlohmann::ordered_json object =
      to_coco(example_instance(), {2, 2}, ClassTable::from_names({}, 80));
  object["image_id"] = 5;
  const auto results = read_coco_results(nlohmann::ordered_json::array({object}).dump());
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].image_id, 5);
  EXPECT_EQ(results[0].category_id, 3);
  EXPECT_DOUBLE_EQ(results[0].score, 0.876543);
  EXPECT_DOUBLE_EQ(results[0].box->x, 1.235);
  EXPECT_EQ(results[0].mask->size, cv::Size(2, 2));
  EXPECT_EQ(results[0].mask->counts, (std::vector<uint32_t>{2, 2}));
}

TEST(CocoResults, ThatAreBrokenAreNamed) {
  const auto read = [](const std::string& text) {
    return [text] { read_coco_results(text, "r.json"); };
  };
  expect_input_error(read("{}"), "r.json: not a COCO results file");
  expect_input_error(read("[1"), "broken JSON");
  expect_input_error(read("[3]"), "result 0: it is not an object");
  const std::string head = R"([{"image_id":1,"category_id":2,"score":0.5)";
  expect_input_error(read(head + "}]"), "neither");
  expect_input_error(read(head + R"(,"bbox":[1,2,3]}])"), "array of 4");
  expect_input_error(read(head + R"(,"bbox":[1,2,3,"4"]}])"), "not a number");
  expect_input_error(read(head + R"(,"segmentation":{"size":[2,2]}}])"), "'counts' is missing");
  expect_input_error(read(head + R"(,"segmentation":{"size":[2,3],"counts":"22"}}])"), "6 pixels");
  expect_input_error(read(head + R"(,"segmentation":{"size":[-1,3],"counts":"22"}}])"), "size");
  expect_input_error(read(R"([{"image_id":1.5,"category_id":2,"score":0.5}])"), "not an integer");
  expect_input_error(read(R"([{"image_id":1}])"), "'category_id' is missing");
}

}  // namespace
}  // namespace hornet
