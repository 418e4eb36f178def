#include <hornet/backbone/error.h>
#include <hornet/heads/finite.h>
#include <hornet/pipelines/classifier.h>
#include <hornet/pipelines/forward.h>

#include <algorithm>
#include <utility>

namespace hornet {
namespace {

// Rows of classes and their scores, on the CPU.
std::vector<std::vector<ClassScore>> to_scores(const torch::Tensor& labels,
                                               const torch::Tensor& scores) {
  const auto label = labels.accessor<int64_t, 2>();
  const auto score = scores.accessor<float, 2>();
  std::vector<std::vector<ClassScore>> rows(static_cast<size_t>(labels.size(0)));
  for (int64_t i = 0; i < labels.size(0); ++i) {
    for (int64_t k = 0; k < labels.size(1); ++k) {
      rows[i].push_back({static_cast<int>(label[i][k]), score[i][k]});
    }
  }
  return rows;
}

}  // namespace

Classifier::Classifier(const std::filesystem::path& checkpoint, const RuntimeOptions& runtime,
                       const ClassifierOptions& options)
    : runtime_(runtime), options_(options) {
  LoadedModel loaded = load_model(weights::read(checkpoint), options.allow_partial);
  auto* model = std::get_if<HorNetClassifier>(&loaded.module);
  if (model == nullptr) {
    throw Error(ErrorCode::kWeights, checkpoint.string() + " is for " +
                                         task_name(loaded.architecture.task) + " (" +
                                         architecture_name(loaded.architecture) +
                                         "); classification needs a HorNet with its classifier");
  }
  model_ = *model;
  architecture_ = loaded.architecture;
  load_report_ = loaded.report;
  preprocess_ = official_preprocess(loaded);
  if (options.size) preprocess_.scale = {*options.size, *options.size};
  if (loaded.meta.classes.size() == static_cast<size_t>(num_classes())) {
    names_ = loaded.meta.classes;
  }
  runtime_.place(*model_);
}

std::vector<ClassScore> Classifier::operator()(const cv::Mat& bgr) {
  return std::move((*this)(std::vector<cv::Mat>{bgr}).front());
}

std::vector<std::vector<ClassScore>> Classifier::operator()(const std::vector<cv::Mat>& images) {
  if (images.empty()) return {};
  std::vector<torch::Tensor> inputs;
  for (const cv::Mat& image : images) inputs.push_back(preprocess(image, preprocess_).input);
  return runtime_.run([&] {
    const torch::Tensor logits =
        model_->forward(torch::cat(inputs).to(runtime_.device())).to(torch::kFloat);
    check_finite(logits);
    const int64_t count = std::min<int64_t>(options_.count, logits.size(1));
    const torch::Tensor labels = std::get<1>(logits.topk(count, 1));
    const torch::Tensor scores = logits.softmax(1).gather(1, labels);
    return to_scores(labels.cpu(), scores.cpu());
  });
}

std::string Classifier::name(int label) const {
  return names_.empty() ? "class " + std::to_string(label) : names_.at(label);
}

}  // namespace hornet
