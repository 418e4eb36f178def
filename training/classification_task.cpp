#include <hornet/backbone/error.h>
#include <hornet/pipelines/interrupt.h>
#include <hornet/pipelines/model_defaults.h>
#include <hornet/pipelines/preprocess.h>
#include <hornet/training/classification_task.h>
#include <hornet/training/data_parallel.h>
#include <torch/nn/functional/loss.h>

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace hornet {

ClassificationTask::ClassificationTask(const std::vector<ImageClass>& training,
                                       const std::vector<ImageClass>& validation,
                                       const ClassificationOptions& options)
    : options_(options) {
  for (const ImageClass& found : training) classes_.push_back(found.name);
  TORCH_CHECK(options.architecture.num_classes == static_cast<int64_t>(classes_.size()),
              "ClassificationTask: there are other classes than the model's");
  training_ = flatten(training);
  validation_ = flatten(validation);
  AnyModel model = build_model(options.architecture);
  model_ = std::get<HorNetClassifier>(model);
}

std::vector<ClassificationTask::Sample> ClassificationTask::flatten(
    const std::vector<ImageClass>& folders) const {
  std::vector<Sample> samples;
  for (const ImageClass& folder : folders) {
    const auto known = std::find(classes_.begin(), classes_.end(), folder.name);
    if (known == classes_.end()) {
      throw Error(ErrorCode::kInput, folder.images.front().parent_path().string() +
                                         ": there is no training folder of this name");
    }
    for (const auto& image : folder.images) samples.push_back({image, known - classes_.begin()});
  }
  return samples;
}

Example ClassificationTask::example(int64_t index, uint64_t seed) const {
  const Sample& sample = training_[static_cast<size_t>(index)];
  Random random(seed);
  cv::Mat crop = augment_for_classification(load_image(sample.image), options_.augment, random);
  cv::cvtColor(crop, crop, cv::COLOR_BGR2RGB);
  const auto normalisation = classification_preprocess(options_.augment.crop.width);
  return {normalize(crop, normalisation)[0], {torch::tensor(sample.label, torch::kInt64)}};
}

Losses ClassificationTask::losses(const Batch& batch) {
  namespace F = torch::nn::functional;
  std::vector<torch::Tensor> labels;
  for (const auto& targets : batch.targets) labels.push_back(targets.at(0));
  const torch::Tensor logits = model_->forward(batch.images).to(torch::kFloat32);
  const auto options = F::CrossEntropyFuncOptions().label_smoothing(options_.label_smoothing);
  Losses losses;
  losses.parts.emplace_back("class", F::cross_entropy(logits, torch::stack(labels), options));
  return losses;
}

Metrics ClassificationTask::evaluate(const Validation& validation) {
  if (validation_.empty()) return {};
  const Runtime& runtime = validation.runtime;
  const ProcessTeam& team = validation.team;
  constexpr int64_t kTop = 5;
  const int64_t shown = std::min<int64_t>(kTop, static_cast<int64_t>(classes_.size()));
  const PreprocessOptions preparation = classification_preprocess(options_.augment.crop.width);
  int64_t first = 0, among = 0, read = 0;
  const auto start = static_cast<size_t>(team.rank()), step = static_cast<size_t>(team.size());
  for (size_t i = start; i < validation_.size() && !interrupted(); i += step) {
    const Sample& sample = validation_[i];
    const auto image = validation.try_to([&] { return load_image(sample.image); });
    if (!image) continue;
    const Preprocessed prepared = preprocess(*image, preparation);
    const torch::Tensor best = runtime.run([&] {
      const torch::Tensor logits = model_->forward(prepared.input.to(runtime.device()));
      return std::get<1>(logits.to(torch::kFloat32).topk(shown)).cpu();
    });
    ++read;
    first += best[0][0].item<int64_t>() == sample.label;
    among += best.eq(sample.label).any().item<bool>();
  }
  if (team.any(interrupted())) return {};
  const std::vector<int64_t> right = team.sums({first, among, read});
  validation.require_some(read);
  const auto images = static_cast<double>(right[2]);
  return {{"top-1", static_cast<double>(right[0]) / images},
          {"top-5", static_cast<double>(right[1]) / images}};
}

weights::Metadata ClassificationTask::metadata() const {
  weights::Metadata meta;
  meta.classes = classes_;
  set_default_size(meta, options_.augment.crop);
  return meta;
}

}  // namespace hornet
