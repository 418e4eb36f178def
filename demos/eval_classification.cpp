#include <hornet/backbone/error.h>
#include <hornet/pipelines/classifier.h>
#include <hornet/pipelines/image_list.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <map>

#include "demos/eval_job.h"
#include "demos/image_files.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kLongestTable = 100;  // classes

// A folder for every class, sorted by name, as torchvision's ImageFolder takes them.
std::vector<ListedImage> images_of_folders(const fs::path& folder) {
  std::vector<fs::path> classes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) classes.push_back(entry.path());
  }
  std::sort(classes.begin(), classes.end());
  std::vector<ListedImage> images;
  for (const fs::path& path : classes) {
    for (const fs::path& image : images_in(path, ImageFiles::kImages)) {
      images.push_back({image, path.filename().string(), 0});
    }
  }
  if (images.empty()) {
    throw Error(ErrorCode::kInput,
                folder.string() + ": expected a folder of images for every class, found none");
  }
  return images;
}

std::optional<int> index_of(const std::string& text, int num_classes) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && index >= 0 && index < num_classes ? std::optional<int>(index) : std::nullopt;
}

// What the labels of the data mean: the model's names, numbers (in a list), or, in folders, the
// classes in the order of their names.
class LabelTable {
 public:
  LabelTable(const std::vector<ListedImage>& images, const Classifier& model, bool folders)
      : num_classes_(model.num_classes()) {
    std::map<std::string, int> seen;
    for (const ListedImage& image : images) seen.emplace(image.label, 0);
    for (size_t i = 0; i < model.names().size(); ++i) {
      labels_.emplace(model.names()[i], static_cast<int>(i));
    }
    const auto is_name = [&](const auto& entry) { return labels_.count(entry.first) > 0; };
    if (std::all_of(seen.begin(), seen.end(), is_name)) return;
    labels_.clear();
    if (!folders) return;
    how_ = "in the order of the folders";
    if (seen.size() != static_cast<size_t>(num_classes_)) {
      throw Error(ErrorCode::kInput,
                  "the data has " + std::to_string(seen.size()) + " folders, the model " +
                      std::to_string(num_classes_) +
                      " classes: expected as many, or folders that are named as the classes");
    }
    int next = 0;
    for (const auto& [name, ignored] : seen) labels_.emplace(name, next++);
  }

  int operator()(const ListedImage& image) const {
    const auto known = labels_.find(image.label);
    if (known != labels_.end()) return known->second;
    if (const auto index = index_of(image.label, num_classes_)) return *index;
    throw Error(ErrorCode::kInput, "line " + std::to_string(image.line_number) + ": '" +
                                       image.label +
                                       "' is no class of the model, and no number "
                                       "from 0 to " +
                                       std::to_string(num_classes_ - 1));
  }

  std::string how() const { return labels_.empty() ? "by number" : how_; }

 private:
  int num_classes_;
  std::map<std::string, int> labels_;
  std::string how_ = "by name";
};

struct Hits {
  int64_t images = 0, first = 0, among_five = 0;

  static double share(int64_t part, int64_t all) {
    return all == 0 ? -1 : static_cast<double>(part) / static_cast<double>(all);
  }
  double top1() const { return share(first, images); }
  double top5() const { return share(among_five, images); }

  void add(int label, const std::vector<ClassScore>& guesses) {
    ++images;
    first += guesses[0].label == label;
    among_five += std::any_of(guesses.begin(), guesses.end(),
                              [&](const ClassScore& guess) { return guess.label == label; });
  }
};

ClassifierOptions classifier_options(const EvalJob& job) {
  ClassifierOptions options;
  options.allow_partial = job.allow_partial;
  if (!job.size) return options;
  if (job.size->width != job.size->height) {
    throw Error(ErrorCode::kUsage, "--size: classification takes squares, for example 224");
  }
  options.size = job.size->width;
  return options;
}

void report(const Classifier& model, const std::vector<Hits>& classes, Evaluation& out) {
  Hits all;
  std::vector<std::vector<std::string>> rows = {{"class", "images", "top-1", "top-5"}};
  out.classes = ordered_json::array();
  for (size_t i = 0; i < classes.size(); ++i) {
    const Hits& hits = classes[i];
    all.images += hits.images;
    all.first += hits.first;
    all.among_five += hits.among_five;
    const std::string name = model.name(static_cast<int>(i));
    out.classes.push_back({{"index", i},
                           {"name", name},
                           {"images", hits.images},
                           {"top1", figure_json(hits.top1())},
                           {"top5", figure_json(hits.top5())}});
    rows.push_back(
        {name, std::to_string(hits.images), figure_text(hits.top1()), figure_text(hits.top5())});
  }
  out.figures = {{"top1", figure_json(all.top1())}, {"top5", figure_json(all.top5())}};
  out.table = table_text(
      {{"", "images", "top-1", "top-5"},
       {"all", std::to_string(all.images), figure_text(all.top1()), figure_text(all.top5())}});
  if (classes.size() <= kLongestTable) out.table += "\n" + table_text(rows);
}

}  // namespace

Evaluation evaluate_classification(const EvalJob& job) {
  const bool folders = fs::is_directory(job.data);
  const std::vector<ListedImage> images =
      folders ? images_of_folders(job.data) : read_image_list(job.data);
  Classifier classify(job.weights, job.runtime, classifier_options(job));
  announce(architecture_name(classify.architecture()), classify.load_report(),
           classify.runtime().device_name());
  std::vector<int> labels;
  try {
    const LabelTable table(images, classify, folders);
    for (const ListedImage& image : images) labels.push_back(table(image));
    std::cerr << "hornet: classes are matched " << table.how() << '\n';
  } catch (const Error& error) {
    throw Error(error.code(), job.data.string() + ": " + error.what());
  }
  std::vector<Hits> hits(static_cast<size_t>(classify.num_classes()));
  const auto load = [&](size_t i) { return EvalItem{i, load_image(images[i].image), {}}; };
  const auto use = [&](std::vector<EvalItem>& items) {
    std::vector<cv::Mat> batch;
    for (const EvalItem& item : items) batch.push_back(item.input);
    const auto guesses = classify(batch);
    for (size_t i = 0; i < items.size(); ++i) {
      const int label = labels[items[i].index];
      hits[static_cast<size_t>(label)].add(label, guesses[i]);
    }
  };
  Evaluation out;
  out.device = classify.runtime().device_name();
  for (const SkippedItem& item : for_each_batch(job, images.size(), load, use)) {
    out.skipped.push_back(item.reason);
  }
  out.images = static_cast<int64_t>(images.size() - out.skipped.size());
  report(classify, hits, out);
  return out;
}

}  // namespace hornet::cli
