#include "demos/model_table.h"

#include <hornet/heads/model_complexity.h>

#include <cstdio>

namespace hornet::cli {

cv::Size official_size(const Architecture& architecture) {
  if (architecture.task == Task::kDetection) return {1280, 800};
  const auto* hornet = std::get_if<HorNetOptions>(&architecture.backbone);
  if (architecture.task == Task::kSegmentation) {
    const bool large = hornet && hornet->base_dim >= 192;
    return large ? cv::Size(2560, 640) : cv::Size(2048, 512);
  }
  const int side = hornet ? static_cast<int>(classification_size(*hornet)) : 224;
  return {side, side};
}

void print_model_table() {
  std::printf("%-42s %11s %10s %9s\n", "model", "parameters", "input", "FLOPs");
  for (const std::string& name : official_names()) {
    const Architecture architecture = official_architecture(name);
    const cv::Size size = official_size(architecture);
    const Complexity complexity = model_complexity(architecture, {size.height, size.width});
    std::printf("%-42s %9.2f M %5dx%-4d %7.2f G\n", name.c_str(),
                static_cast<double>(complexity.parameters) / 1e6, size.width, size.height,
                static_cast<double>(complexity.flops) / 1e9);
  }
}

}  // namespace hornet::cli
