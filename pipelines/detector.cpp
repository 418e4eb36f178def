#include <hornet/backbone/error.h>
#include <hornet/pipelines/detector.h>
#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/model_defaults.h>

#include <algorithm>
#include <cmath>

namespace hornet {
namespace {

constexpr int kOfficialWidth = 1333, kOfficialHeight = 800;

ImageSize image_size(cv::Size size) { return {size.height, size.width}; }

// The masks of one image, as crops that own their pixels.
std::vector<MaskCrop> mask_crops(const ops::PastedMasks& pasted) {
  const auto regions = pasted.regions.accessor<int64_t, 2>();
  const auto offsets = pasted.offsets.accessor<int64_t, 1>();
  uint8_t* pixels = pasted.pixels.data_ptr<uint8_t>();
  std::vector<MaskCrop> crops(regions.size(0));
  for (int64_t i = 0; i < regions.size(0); ++i) {
    const auto side = [&](int k) { return static_cast<int>(regions[i][k]); };
    crops[i].region = {side(0), side(1), side(2), side(3)};
    crops[i].pixels = cv::Mat(side(3), side(2), CV_8UC1, pixels + offsets[i]).clone();
  }
  return crops;
}

// Boxes of the network's input in pixels of the original image.
torch::Tensor in_original_pixels(const torch::Tensor& boxes, const Preprocessed& image,
                                 Conventions conventions) {
  const ImageSize original = image_size(image.original_size);
  if (image.scaled_size.empty()) {
    return to_original(boxes, image_size(image.image_size), original, conventions);
  }
  const double x = image.crop_origin.x, y = image.crop_origin.y;
  return to_original(boxes + torch::tensor({x, y, x, y}, boxes.options()),
                     image_size(image.scaled_size), original, conventions);
}

// What is above the threshold, in pixels of the original image.
std::vector<Instance> to_instances(const Detections& found, const Preprocessed& image,
                                   double score_threshold, Conventions conventions) {
  const torch::Tensor strong = (found.scores >= score_threshold).nonzero().squeeze(1);
  const ImageSize original = image_size(image.original_size);
  const torch::Tensor boxes =
      in_original_pixels(found.boxes.index_select(0, strong), image, conventions);
  const std::vector<MaskCrop> masks =
      mask_crops(ops::paste_masks(found.mask_probs.index_select(0, strong), boxes, original.height,
                                  original.width, 0.5, paste_rule(conventions)));
  const torch::Tensor box_values = boxes.cpu().contiguous();
  const torch::Tensor scores = found.scores.index_select(0, strong).cpu();
  const torch::Tensor labels = found.labels.index_select(0, strong).cpu();
  std::vector<Instance> instances(masks.size());
  for (size_t i = 0; i < instances.size(); ++i) {
    const float* box = box_values.data_ptr<float>() + 4 * i;
    instances[i].box = {box[0], box[1], box[2] - box[0], box[3] - box[1]};
    instances[i].score = scores.data_ptr<float>()[i];
    instances[i].label = static_cast<int>(labels.data_ptr<int64_t>()[i]);
    instances[i].mask = masks[i];
  }
  return instances;
}

}  // namespace

Detector::Detector(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime,
                   const DetectorOptions& options)
    : runtime_(runtime), options_(options) {
  LoadedModel loaded = load_model(weights::read(checkpoint), options.allow_partial);
  auto* model = std::get_if<MaskRcnn>(&loaded.module);
  if (model == nullptr) {
    throw Error(ErrorCode::kWeights,
                checkpoint.string() + " is for " + task_name(loaded.architecture.task) + " (" +
                    architecture_name(loaded.architecture) +
                    "); detection needs a Mask R-CNN or Cascade Mask R-CNN checkpoint");
  }
  model_ = *model;
  architecture_ = loaded.architecture;
  load_report_ = loaded.report;
  classes_ =
      ClassTable::from_names(loaded.meta.classes, static_cast<int>(architecture_.num_classes));
  if (!options_.size) options_.size = default_size(loaded.meta);
  use_options();
  runtime_.place(*model_);
}

Detector::Detector(MaskRcnn model, ClassTable classes, const Runtime& runtime,
                   const DetectorOptions& options)
    : runtime_(runtime), options_(options), classes_(std::move(classes)), model_(std::move(model)) {
  use_options();
}

void Detector::use_options() {
  if (!options_.size) options_.size = cv::Size(kOfficialWidth, kOfficialHeight);
  candidate_threshold_ = model_->roi_head->options.score_threshold();
  set_score_threshold(options_.score_threshold);
}

std::vector<Instance> Detector::operator()(const cv::Mat& bgr) {
  return std::move((*this)(std::vector<cv::Mat>{bgr}).front());
}

std::vector<std::vector<Instance>> Detector::operator()(const std::vector<cv::Mat>& images) {
  std::vector<Preprocessed> inputs;
  for (const cv::Mat& image : images) inputs.push_back(preprocess(image));
  return run(inputs);
}

Preprocessed Detector::preprocess(const cv::Mat& bgr) const {
  return hornet::preprocess(bgr, detection_preprocess(model_->conventions, size()));
}

std::vector<std::vector<Instance>> Detector::run(const std::vector<Preprocessed>& inputs) {
  std::vector<std::vector<Instance>> results;
  for (auto begin = inputs.begin(); begin != inputs.end();) {
    const auto end = std::find_if(begin, inputs.end(), [begin](const Preprocessed& next) {
      return next.input.sizes() != begin->input.sizes();
    });
    run_batch({begin, end}, results);
    begin = end;
  }
  return results;
}

// What is weaker neither suppresses nor displaces what is stronger, so that it need not be a
// candidate, nor get a mask. Candidates are above their threshold, results at theirs or above.
void Detector::set_score_threshold(double threshold) {
  options_.score_threshold = threshold;
  const bool higher = threshold > candidate_threshold_;
  model_->roi_head->options.score_threshold(
      higher ? std::nextafter(static_cast<float>(threshold), 0.0F) : threshold);
}

void Detector::run_batch(const std::vector<Preprocessed>& images,
                         std::vector<std::vector<Instance>>& results) {
  std::vector<torch::Tensor> inputs;
  std::vector<ImageSize> sizes;
  for (const Preprocessed& image : images) {
    inputs.push_back(image.input);
    sizes.push_back(image_size(image.image_size));
  }
  auto batch = runtime_.run([&] {
    const std::vector<Detections> found =
        model_->forward(torch::cat(inputs).to(runtime_.device()), sizes);
    std::vector<std::vector<Instance>> instances;
    for (size_t i = 0; i < found.size(); ++i) {
      instances.push_back(
          to_instances(found[i], images[i], options_.score_threshold, model_->conventions));
    }
    return instances;
  });
  for (auto& instances : batch) results.push_back(std::move(instances));
}

}  // namespace hornet
