// Preprocessing is checked bit for bit: the bilinear resize against OpenCV's recipe in plain
// loops, the bicubic one against what Pillow 9.5 makes of the same noise (values, or the
// FNV-1a hash of the pixels where there are many; Pillow 13 orders its passes by the shape and
// differs), normalisation against values of mmcv and torchvision.
#include <gtest/gtest.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/preprocess.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

namespace hornet {
namespace {

namespace fs = std::filesystem;

cv::Mat noise(int width, int height) {
  cv::Mat image(height, width, CV_8UC3);
  uint64_t state = static_cast<uint64_t>(width) * 65536 + static_cast<uint64_t>(height);
  for (size_t i = 0; i < image.total() * 3; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    image.data[i] = static_cast<uint8_t>(state >> 56);
  }
  return image;
}

uint64_t fnv1a(const cv::Mat& image) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < image.total() * image.elemSize(); ++i) {
    hash = (hash ^ image.data[i]) * 0x100000001b3u;
  }
  return hash;
}

bool identical(const cv::Mat& a, const cv::Mat& b) {
  return a.size() == b.size() && a.type() == b.type() && cv::norm(a, b, cv::NORM_INF) == 0;
}

cv::Mat whole_bicubic(const cv::Mat& image, cv::Size size) {
  return resize_bicubic(image, size, {0, 0, size.width, size.height});
}

// --- the bilinear resize

cv::Mat half(const cv::Mat& source) {
  cv::Mat result(source.rows / 2, source.cols / 2, CV_8UC3);
  for (int y = 0; y < result.rows; ++y) {
    for (int x = 0; x < result.cols; ++x) {
      const auto at = [&](int dy, int dx) { return source.at<cv::Vec3b>(2 * y + dy, 2 * x + dx); };
      for (int c = 0; c < 3; ++c) {
        result.at<cv::Vec3b>(y, x)[c] =
            static_cast<uint8_t>((at(0, 0)[c] + at(0, 1)[c] + at(1, 0)[c] + at(1, 1)[c] + 2) >> 2);
      }
    }
  }
  return result;
}

struct Bilinear {
  int low, high;                // source indices
  int low_weight, high_weight;  // of 2048
};

Bilinear bilinear(int target_index, int source, int target, bool is_column) {
  float f = static_cast<float>((target_index + 0.5) * source / target - 0.5);
  int low = static_cast<int>(std::floor(f));
  f -= static_cast<float>(low);
  if (is_column && (low < 0 || low >= source - 1)) f = 0;
  if (is_column) low = std::clamp(low, 0, source - 1);
  return {std::clamp(low, 0, source - 1), std::clamp(low + 1, 0, source - 1),
          static_cast<int>(std::nearbyint(2048 * (1 - f))),
          static_cast<int>(std::nearbyint(2048 * f))};
}

cv::Mat bilinear_recipe(const cv::Mat& source, cv::Size size) {
  if (source.size() == size * 2) return half(source);
  cv::Mat result(size, CV_8UC3);
  for (int y = 0; y < size.height; ++y) {
    const Bilinear b = bilinear(y, source.rows, size.height, false);
    for (int x = 0; x < size.width; ++x) {
      const Bilinear a = bilinear(x, source.cols, size.width, true);
      for (int c = 0; c < 3; ++c) {
        const auto row = [&](int i) {
          return source.at<cv::Vec3b>(i, a.low)[c] * a.low_weight +
                 source.at<cv::Vec3b>(i, a.high)[c] * a.high_weight;
        };
        const int low = (b.low_weight * (row(b.low) >> 4)) >> 16;
        const int high = (b.high_weight * (row(b.high) >> 4)) >> 16;
        result.at<cv::Vec3b>(y, x)[c] = static_cast<uint8_t>((low + high + 2) >> 2);
      }
    }
  }
  return result;
}

struct Scaling {
  cv::Size source, scale;
};

class ResizeKeepRatio : public testing::TestWithParam<Scaling> {};

TEST_P(ResizeKeepRatio, IsOpenCvsFixedPointBilinear) {
  const auto [source, scale] = GetParam();
  const cv::Mat image = noise(source.width, source.height);
  const cv::Size size = keep_ratio_size(source, scale);
  EXPECT_TRUE(identical(resize_keep_ratio(image, scale), bilinear_recipe(image, size)));
}

INSTANTIATE_TEST_SUITE_P(Sizes, ResizeKeepRatio,
                         testing::Values(Scaling{{97, 61}, {133, 80}},    // larger
                                         Scaling{{61, 97}, {133, 80}},    // larger, upright
                                         Scaling{{211, 102}, {133, 80}},  // smaller
                                         Scaling{{333, 517}, {40, 25}},   // much smaller
                                         Scaling{{96, 64}, {48, 32}},     // exactly one half
                                         Scaling{{32, 33}, {32, 33}},     // as it is
                                         Scaling{{13, 7}, {91, 49}},      // seven times
                                         Scaling{{39, 21}, {13, 7}},      // a third
                                         Scaling{{1, 9}, {64, 32}},       // one column
                                         Scaling{{9, 1}, {64, 32}},       // one row
                                         Scaling{{1, 1}, {13, 7}},        // one pixel
                                         Scaling{{640, 480}, {1333, 800}}));

TEST(ResizeKeepRatio, TakesAPartOfALargerImage) {
  const cv::Mat image = noise(97, 61);
  const cv::Mat part = image(cv::Rect(11, 5, 40, 31));
  EXPECT_TRUE(identical(resize_keep_ratio(part, {90, 55}),
                        bilinear_recipe(part, keep_ratio_size(part.size(), {90, 55}))));
}

TEST(KeepRatioSize, IsTheOfficialOne) {
  EXPECT_EQ(keep_ratio_size({548, 342}, {517, 333}), cv::Size(517, 323));
  EXPECT_EQ(keep_ratio_size({512, 384}, {1333, 800}), cv::Size(1067, 800));
  EXPECT_EQ(keep_ratio_size({259, 194}, {1333, 800}), cv::Size(1068, 800));
  EXPECT_EQ(keep_ratio_size({512, 384}, {2048, 512}), cv::Size(683, 512));
  EXPECT_EQ(keep_ratio_size({259, 194}, {2560, 640}), cv::Size(854, 640));
  EXPECT_EQ(keep_ratio_size({1920, 1080}, {1333, 800}), cv::Size(1333, 750));
}

TEST(KeepRatioSize, FitsUprightImagesAndUprightScalesAlike) {
  EXPECT_EQ(keep_ratio_size({342, 548}, {1333, 800}), cv::Size(800, 1282));
  EXPECT_EQ(keep_ratio_size({342, 548}, {800, 1333}), cv::Size(800, 1282));
}

TEST(KeepRatioSize, NeverVanishes) {
  EXPECT_EQ(keep_ratio_size({5000, 1}, {1333, 800}), cv::Size(1333, 1));
  EXPECT_EQ(keep_ratio_size({1, 1}, {1333, 800}), cv::Size(800, 800));
}

// --- the bicubic resize

TEST(ResizeBicubic, IsPillowsDownwards) {
  const std::vector<uint8_t> expected = {87, 210, 134, 107, 177, 125, 53, 166, 167,
                                         99, 177, 81,  136, 130, 88,  50, 144, 180};
  const cv::Mat result = whole_bicubic(noise(5, 4), {3, 2});
  EXPECT_EQ(std::vector<uint8_t>(result.datastart, result.dataend), expected);
}

TEST(ResizeBicubic, IsPillowsUpwards) {
  const std::vector<uint8_t> expected = {
      186, 173, 255, 105, 178, 206, 0,   176, 127, 53,  114, 208, 106, 72,  255,
      139, 196, 196, 106, 195, 154, 61,  183, 103, 103, 128, 188, 135, 92,  241,
      47,  239, 57,  107, 227, 50,  199, 197, 57,  200, 155, 146, 192, 130, 203,
      0,   255, 0,   108, 244, 0,   255, 204, 33,  250, 169, 126, 221, 150, 183};
  const cv::Mat result = whole_bicubic(noise(3, 2), {5, 4});
  EXPECT_EQ(std::vector<uint8_t>(result.datastart, result.dataend), expected);
}

struct Hashed {
  int width, height, target_width, target_height;
  uint64_t hash;
};

TEST(ResizeBicubic, IsPillowsAtManySizes) {
  for (const Hashed& t :
       {Hashed{13, 21, 5, 7, 0xa2b04b291beb23c1}, Hashed{7, 5, 20, 31, 0x6428068f0297e47d},
        Hashed{64, 48, 17, 9, 0x298027caa59703b2}, Hashed{97, 61, 97, 23, 0xb802595fef3c27ea},
        Hashed{97, 61, 31, 61, 0xd122cf98ddbf4d9f}, Hashed{1, 9, 4, 3, 0xa2c27af31bf15451},
        Hashed{9, 1, 3, 4, 0xb82e7ddf3602d3ad}, Hashed{1, 1, 6, 5, 0x7450976128d1d82d},
        Hashed{333, 251, 100, 75, 0xdc9d1788fd3729c5}, Hashed{128, 96, 64, 48, 0x0e6ddd070eb99d4c},
        Hashed{11, 88, 29, 73, 0x9bed2e59d731e0c4}, Hashed{17, 7, 26, 3, 0xbb13ff719306d3fb},
        Hashed{3, 701, 5, 40, 0x4c17fe5d327a65ab}}) {
    const cv::Mat result =
        whole_bicubic(noise(t.width, t.height), {t.target_width, t.target_height});
    EXPECT_EQ(fnv1a(result), t.hash) << t.width << "x" << t.height;
  }
}

TEST(ResizeBicubic, KeepsAnImageOfTheSameSize) {
  EXPECT_TRUE(identical(whole_bicubic(noise(40, 30), {40, 30}), noise(40, 30)));
}

TEST(ResizeBicubic, ComputesAWindowOfTheWhole) {
  const cv::Rect window(3, 5, 11, 7);
  const cv::Mat image = noise(37, 29);
  EXPECT_TRUE(
      identical(resize_bicubic(image, {20, 16}, window), whole_bicubic(image, {20, 16})(window)));
}

TEST(ResizeForClassification, IsTorchvisionsOnPillow) {
  struct Case {
    int width, height, size;
    uint64_t hash;
  };
  for (const Case& t :
       {Case{97, 61, 32, 0xb2bef2c7620dc664}, Case{61, 97, 32, 0xa46befd062162858},
        Case{50, 50, 49, 0x44e288d372a4a616}, Case{33, 200, 224, 0x5eeea13b6ec917cc},
        Case{300, 260, 224, 0xc3202fede7401d6b}, Case{97, 61, 384, 0x90d6d78ff8817215}}) {
    const cv::Mat result = resize_for_classification(noise(t.width, t.height), t.size);
    EXPECT_EQ(result.size(), cv::Size(t.size, t.size));
    EXPECT_EQ(fnv1a(result), t.hash) << t.width << "x" << t.height << " to " << t.size;
  }
}

TEST(ResizeForClassification, TakesExtremeShapes) {
  const cv::Mat result = resize_for_classification(noise(1, 20000), 224);
  EXPECT_EQ(result.size(), cv::Size(224, 224));
}

TEST(CenterCrop, RoundsHalfAPixelToEven) {
  EXPECT_EQ(center_crop({256, 256}, 224), cv::Rect(16, 16, 224, 224));
  EXPECT_EQ(center_crop({225, 227}, 224), cv::Rect(0, 2, 224, 224));  // 0.5 and 1.5
  EXPECT_EQ(center_crop({229, 231}, 224), cv::Rect(2, 4, 224, 224));  // 2.5 and 3.5
}

// --- normalisation

cv::Mat pixel(uint8_t red, uint8_t green, uint8_t blue) {
  return cv::Mat(1, 1, CV_8UC3, cv::Scalar(red, green, blue));
}

std::vector<float> normalized(const cv::Mat& rgb, const PreprocessOptions& options) {
  const torch::Tensor input = normalize(rgb, options).contiguous();
  return {input.data_ptr<float>(), input.data_ptr<float>() + input.numel()};
}

TEST(Normalize, IsMmcvsForDenseTasks) {
  const PreprocessOptions options = segmentation_preprocess();
  EXPECT_EQ(normalized(pixel(0, 0, 0), options),
            (std::vector<float>{-2.117904f, -2.0357141f, -1.8044444f}));
  EXPECT_EQ(normalized(pixel(100, 127, 200), options),
            (std::vector<float>{-0.4054286f, 0.18767509f, 1.6813943f}));
  EXPECT_EQ(normalized(pixel(255, 255, 255), options),
            (std::vector<float>{2.2489083f, 2.4285715f, 2.64f}));
}

TEST(Normalize, IsTorchvisionsForClassification) {
  const PreprocessOptions options = classification_preprocess();
  EXPECT_EQ(normalized(pixel(0, 0, 0), options),
            (std::vector<float>{-2.117904f, -2.0357141f, -1.8044444f}));
  EXPECT_EQ(normalized(pixel(100, 127, 200), options),
            (std::vector<float>{-0.4054286f, 0.18767506f, 1.6813945f}));
  EXPECT_EQ(normalized(pixel(255, 255, 255), options),
            (std::vector<float>{2.2489083f, 2.4285715f, 2.64f}));
}

TEST(Normalize, PadsRightAndBottomWithZeros) {
  const cv::Mat rgb = noise(33, 31);
  const torch::Tensor padded = normalize(rgb, detection_preprocess());
  const torch::Tensor plain = normalize(rgb, segmentation_preprocess());
  using torch::indexing::Slice;
  ASSERT_EQ(padded.sizes(), torch::IntArrayRef({1, 3, 32, 64}));
  ASSERT_EQ(plain.sizes(), torch::IntArrayRef({1, 3, 31, 33}));
  EXPECT_TRUE(padded.index({0, Slice(), Slice(0, 31), Slice(0, 33)}).equal(plain[0]));
  EXPECT_EQ(padded.index({0, Slice(), 31}).count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(padded.index({0, Slice(), Slice(), Slice(33)}).count_nonzero().item<int64_t>(), 0);
}

// --- the whole

TEST(Preprocess, ReportsTheSizesOfADetectorsInput) {
  const Preprocessed result = preprocess(noise(97, 61), detection_preprocess({133, 80}));
  EXPECT_EQ(result.original_size, cv::Size(97, 61));
  EXPECT_EQ(result.image_size, cv::Size(127, 80));
  EXPECT_EQ(result.resized_rgb.size(), result.image_size);
  EXPECT_EQ(result.input.sizes(), torch::IntArrayRef({1, 3, 96, 128}));
  EXPECT_EQ(result.input.scalar_type(), torch::kFloat32);
}

TEST(Preprocess, TurnsBgrIntoRgb) {
  const cv::Mat blue(8, 8, CV_8UC3, cv::Scalar(255, 0, 0));
  for (const PreprocessOptions& options :
       {detection_preprocess({8, 8}), segmentation_preprocess({8, 8}),
        classification_preprocess(8)}) {
    const Preprocessed result = preprocess(blue, options);
    EXPECT_EQ(result.resized_rgb.at<cv::Vec3b>(3, 3), cv::Vec3b(0, 0, 255));
    EXPECT_LT(result.input[0][0][3][3].item<float>(), -2);
    EXPECT_GT(result.input[0][2][3][3].item<float>(), 2);
  }
}

TEST(Preprocess, TakesGrayAndDropsAlpha) {
  const PreprocessOptions options = segmentation_preprocess({8, 8});
  const cv::Mat gray(8, 8, CV_8UC1, cv::Scalar(77));
  const cv::Mat color(8, 8, CV_8UC3, cv::Scalar(77, 77, 77));
  const cv::Mat alpha(8, 8, CV_8UC4, cv::Scalar(77, 77, 77, 13));
  EXPECT_TRUE(preprocess(gray, options).input.equal(preprocess(color, options).input));
  EXPECT_TRUE(preprocess(alpha, options).input.equal(preprocess(color, options).input));
}

// --- what a user can get wrong

std::string input_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInput);
    return e.what();
  }
  return "no error";
}

TEST(Preprocess, RefusesWhatIsNoEightBitImage) {
  const auto error = [](int type) {
    return input_error([type] { to_bgr8(cv::Mat(4, 4, type, cv::Scalar(1))); });
  };
  EXPECT_NE(error(CV_16UC3).find("uint16"), std::string::npos);
  EXPECT_NE(error(CV_32FC1).find("float32"), std::string::npos);
  EXPECT_NE(error(CV_8UC2).find("found 2"), std::string::npos);
  EXPECT_NE(input_error([] { to_bgr8(cv::Mat()); }).find("without pixels"), std::string::npos);
}

class LoadImage : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "hornet_preprocess_test";
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path file(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  fs::path image_file(const std::string& name, const cv::Mat& image) const {
    cv::imwrite((folder_ / name).string(), image);
    return folder_ / name;
  }

  fs::path folder_;
};

TEST_F(LoadImage, ReadsColorGrayAndAlphaAsBgr) {
  const cv::Mat image = noise(13, 7);
  EXPECT_TRUE(identical(load_image(image_file("color.png", image)), image));
  EXPECT_EQ(load_image(image_file("gray.png", cv::Mat(3, 5, CV_8UC1, cv::Scalar(9)))).channels(),
            3);
  EXPECT_EQ(load_image(image_file("alpha.png", cv::Mat(3, 5, CV_8UC4))).channels(), 3);
}

TEST_F(LoadImage, TurnsPhotosUpright) {
  std::vector<uint8_t> jpeg;
  cv::imencode(".jpg", noise(16, 8), jpeg);
  const unsigned char orientation_6[] = {
      0xff, 0xe1, 0,    34,   'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,
      0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1, 0,   6,   0, 0,  0, 0, 0, 0};
  jpeg.insert(jpeg.begin() + 2, std::begin(orientation_6), std::end(orientation_6));
  const fs::path path = file("turned.jpg", std::string(jpeg.begin(), jpeg.end()));
  EXPECT_EQ(load_image(path).size(), cv::Size(8, 16));
}

// libjpeg itself only warns, and what is missing becomes gray.
TEST_F(LoadImage, RefusesJpegsThatAreCutOff) {
  for (const int progressive : {0, 1}) {
    std::vector<uint8_t> jpeg;
    cv::imencode(".jpg", noise(160, 80), jpeg, {cv::IMWRITE_JPEG_PROGRESSIVE, progressive});
    const std::string whole(jpeg.begin(), jpeg.end());
    EXPECT_EQ(load_image(file("whole.jpg", whole)).size(), cv::Size(160, 80));
    for (const double part : {0.5, 0.9, 0.999}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
      const fs::path cut = file("cut.jpg", whole.substr(0, bytes));
      const std::string message = input_error([&] { load_image(cut); });
      EXPECT_NE(message.find(cut.string() + ": the JPEG is damaged or cut off"), std::string::npos)
          << message;
    }
  }
}

TEST_F(LoadImage, NamesTheFileAndTheTrouble) {
  std::string damaged = "\x89PNG\r\n\x1a\n and then nothing that makes sense";
  const std::vector<std::pair<fs::path, std::string>> cases = {
      {folder_ / "missing.png", "no such file"},
      {folder_, "folder"},
      {file("empty.jpg", ""), "empty"},
      {file("notes.jpg", "not an image"), "of another kind"},
      {file("damaged.png", damaged), "damaged"},
      {file("huge.ppm", "P6\n40000 40000\n255\n"), "OPENCV_IO_MAX_IMAGE_PIXELS"},
      {image_file("deep.png", cv::Mat(3, 5, CV_16UC3, cv::Scalar(1))), "uint16"}};
  for (const auto& [path, trouble] : cases) {
    const std::string message = input_error([path = path] { load_image(path); });
    EXPECT_NE(message.find(path.string()), std::string::npos) << message;
    EXPECT_NE(message.find(trouble), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace hornet
