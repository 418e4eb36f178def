// What the program is given in these tests, and how its results are read back: small checkpoints
// of the fixtures, images and videos made up on the spot.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace hornet::testing {

// The checkpoint of a fixture.
std::string checkpoint(const std::string& fixture);
const std::string& detector_checkpoint();
const std::string& classifier_checkpoint();

// Discs on noise, something for random weights to look at.
cv::Mat scene(cv::Size size, int seed);

// An image of the fixtures, BGR.
cv::Mat fixture_image(const std::string& name);

void write_image(const std::filesystem::path& file, const cv::Mat& bgr);

// Motion JPEG in an .avi, a scene a frame.
void write_video(const std::filesystem::path& file, int frames, cv::Size size = {160, 120},
                 double fps = 12.5);

struct VideoFacts {
  int frames = 0;  // decoded, not promised
  cv::Size size;
  double fps = 0;
};
VideoFacts read_video(const std::filesystem::path& file);

// One JSON object for each line; a test failure for a line that is none.
std::vector<nlohmann::json> read_json_lines(const std::string& text);
nlohmann::json read_json(const std::filesystem::path& file);

// A result of COCO's form for an image of this size: known keys, the box inside, a category of
// COCO's 80, a score from `threshold` to 1, run lengths that fill the image.
void expect_coco_result(const nlohmann::json& result, cv::Size image, double threshold);

// Every object of `left` that is not on the brink of the threshold is in `right` too: same frame
// and category, scores within 1e-4, boxes within a tenth of a pixel.
void expect_contained(const std::vector<nlohmann::json>& left,
                      const std::vector<nlohmann::json>& right, double threshold);

// The names of the files and folders in a folder, sorted.
std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace hornet::testing
