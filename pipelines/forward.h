// Every tensor that flows through a model, by name: what `hornet forward` writes, and how a port
// or a new device is checked against the authors' code.
//
//   hornet::ForwardInput input{tensor, {323, 517}, {342, 548}, {}};
//   for (auto& [name, value] : hornet::forward_stages(model, input, {}, runtime)) ...
//
// Names and shapes are listed in the README.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/heads/ops/paste_masks.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/pipelines/runtime.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hornet {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

struct ForwardInput {
  torch::Tensor input;      // [N,3,H,W] float32, normalised
  ImageSize image_size;     // without padding
  ImageSize original_size;  // of the image before it was resized
  torch::Tensor resized;    // uint8 [h,w,3], RGB; may be undefined
};

// Whole images, or segmentation in sliding windows.
struct ForwardOptions {
  std::optional<SlideOptions> slide;
};

// Runs the model, which is moved to the runtime's device. All results are on the CPU.
NamedTensors forward_stages(LoadedModel& model, const ForwardInput& input,
                            const ForwardOptions& options, const Runtime& runtime);

// Official preprocessing of a BGR image for the model's task.
ForwardInput forward_input(const cv::Mat& bgr, const PreprocessOptions& options);

// The windows that the model was trained with: what its checkpoint's metadata (model_defaults.h) or
// configuration says, else the authors' (640/426 for HorNet-L, 512/341 for the others).
SlideOptions official_slide(const LoadedModel& model);

// The preprocessing for the model's task, at the size that its checkpoint's metadata says, else at
// the authors'.
PreprocessOptions official_preprocess(const LoadedModel& model);

// What comes before and after a detector, by the conventions that it was trained with.
PreprocessOptions detection_preprocess(Conventions conventions, cv::Size scale = {1333, 800});
ops::PasteRule paste_rule(Conventions conventions);

// boxes [n,4] of the network's input in pixels of the original image.
torch::Tensor to_original(const torch::Tensor& boxes, const ImageSize& image_size,
                          const ImageSize& original_size,
                          Conventions conventions = Conventions::kMmdet);

}  // namespace hornet
