// Small objects in large images: the image is searched tile by tile at its own resolution, and what
// overlapping tiles found of one object becomes one (see merge_detections.h).
//
//   TiledDetectionOptions options;                       // tiles of 800, overlapping by 20 %
//   auto report = detect_tiled([&](const auto& tiles) { return detector(tiles); }, raster.source(),
//                              options, [&](const std::vector<Instance>& found, int final_row) {
//                                json.add(raster.size(), found);
//                              });
//
// Tiles are squares, the last of a row or column shifted back inside, so that all of them have one
// size and run in batches; where the image is smaller than a tile, tiles are as small. An object no
// larger than the overlap is whole in at least one of them. Tiles without any data are skipped. One
// thread reads tiles, the calling one detects, a third one calls the sink; short queues connect
// them, and an error in any of them ends all three and is thrown.
//
// Memory is that of a few tiles and of the objects near the current row of tiles, whatever the
// image's height: after each row the objects that no further tile can change go to the sink. What
// is found in the image as a whole comes first, and stays until its last row has been passed.
#pragma once

#include <hornet/pipelines/merge_detections.h>
#include <hornet/pipelines/progress.h>
#include <hornet/pipelines/run_report.h>
#include <hornet/pipelines/window_source.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace hornet {

struct TiledDetectionOptions {
  int tile = 800;        // side of a tile in pixels
  double overlap = 0.2;  // of neighbours, as a share of a tile; below 1
  cv::Size whole_image;  // scaled into this box, the whole image is searched too; empty: it is not
  MergeRule rule = MergeRule::kNms;
  double threshold = 0.5;
  int batch_size = 1;
};

// One list of instances for each BGR image, in pixels of that image.
using DetectFunction =
    std::function<std::vector<std::vector<Instance>>(const std::vector<cv::Mat>& images)>;

// More objects, in pixels of the image. What comes later touches no row above `final_row`.
using TiledDetectionSink = std::function<void(const std::vector<Instance>& found, int final_row)>;

struct TiledDetectionReport {
  int64_t tiles = 0;         // searched
  int64_t skipped = 0;       // without data
  int64_t objects = 0;       // handed to the sink
  int64_t without_mask = 0;  // those that are too large for one
  int64_t peak_waiting = 0;  // the most detections that were kept at a time
  StageTime read{"read"}, infer{"infer"}, merge{"merge"};
};

int64_t count_tiles(cv::Size image, const TiledDetectionOptions& options);

// The sink is called in order, from one thread, the last time with the image's height. After Ctrl-C
// (see interrupt.h) no more tiles are searched, and that last call has what was found until then.
// `progress`, which may be null, advances by one for each tile.
TiledDetectionReport detect_tiled(const DetectFunction& detect, const WindowSource& source,
                                  const TiledDetectionOptions& options,
                                  const TiledDetectionSink& sink, Progress* progress = nullptr);

// The image scaled down to `size`, each pixel the mean of the area that it covers. Reads strips of
// rows and keeps sums for the pixels of the result only.
cv::Mat reduce_image(const WindowSource& source, cv::Size size);

}  // namespace hornet
