#include <hornet/backbone/error.h>
#include <hornet/pipelines/detector.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "demos/eval_job.h"

namespace hornet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using CategoryIds = std::vector<std::optional<int64_t>>;  // of the model's classes

std::string count_text(size_t count, const std::string& what) {
  return std::to_string(count) + " " + what;
}

// By name if any name is the same, else by order if there are as many.
CategoryIds match_categories(const ClassTable& classes, const CocoDataset& data) {
  CategoryIds ids(classes.names.size());
  size_t known = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    for (const CocoCategory& category : data.categories) {
      if (category.name == classes.names[i]) ids[i] = category.id;
    }
    known += ids[i].has_value();
  }
  const std::string sides = "the model's " + count_text(ids.size(), "classes") + " and the " +
                            count_text(data.categories.size(), "categories") + " of " + data.name;
  if (known == 0) {
    if (ids.size() != data.categories.size()) {
      throw Error(ErrorCode::kInput, sides +
                                         " have no name in common and are not as many; name the "
                                         "categories as the model's classes (hornet info)");
    }
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = data.categories[i].id;
  }
  std::cerr << "hornet: " << sides << ": "
            << (known == 0 ? "matched by their order" : count_text(known, "matched by name"))
            << '\n';
  const auto unknown = std::count_if(
      data.categories.begin(), data.categories.end(), [&](const CocoCategory& category) {
        return std::find(ids.begin(), ids.end(), category.id) == ids.end();
      });
  if (unknown > 0) {
    std::cerr << "hornet: figures are means over all categories that have objects, also over those "
                 "that the model does not know, "
              << unknown << '\n';
  }
  return ids;
}

// The images of a data set, one after the other through a detector.
class DetectionRun {
 public:
  DetectionRun(const EvalJob& job, CocoDataset& data)
      : job_(job),
        data_(data),
        detector_(job.weights, job.runtime, {job.size, job.score_threshold, job.allow_partial}),
        folder_(job.images.empty() ? job.data.parent_path() : job.images) {
    announce(architecture_name(detector_.architecture()), detector_.load_report(), device());
    category_ids_ = match_categories(detector_.classes(), data);
  }

  std::string device() const { return detector_.runtime().device_name(); }

  // The images that could not be read are taken out of the data set.
  std::vector<CocoResult> run(std::vector<std::string>& skipped) {
    const auto load = [&](size_t i) { return EvalItem{i, load_image(path_of(i)), {}}; };
    const auto use = [&](std::vector<EvalItem>& items) { detect(items); };
    std::set<int64_t> unread;
    for (const SkippedItem& item : for_each_batch(job_, data_.images.size(), load, use)) {
      unread.insert(data_.images[item.index].id);
      skipped.push_back(item.reason);
    }
    remove_annotations(data_, unread);
    return std::move(results_);
  }

 private:
  fs::path path_of(size_t index) const {
    const CocoImage& image = data_.images[index];
    if (!image.file_name.empty()) return folder_ / image.file_name;
    throw Error(ErrorCode::kUsage, data_.name + ": image " + std::to_string(image.id) +
                                       " has no 'file_name', so no model can be run on it");
  }

  // What the file does not say is taken from the image: polygons need it.
  void check_size(const EvalItem& item) {
    cv::Size& annotated = data_.images[item.index].size;
    const cv::Size found = item.input.size();
    if (annotated.empty()) annotated = found;
    if (annotated == found) return;
    throw Error(ErrorCode::kInput,
                path_of(item.index).string() + ": has " + std::to_string(found.width) + "x" +
                    std::to_string(found.height) + " pixels, but " + data_.name + " says " +
                    std::to_string(annotated.width) + "x" + std::to_string(annotated.height));
  }

  void detect(const std::vector<EvalItem>& items) {
    std::vector<cv::Mat> images;
    for (const EvalItem& item : items) {
      check_size(item);
      images.push_back(item.input);
    }
    const auto found = detector_(images);
    for (size_t i = 0; i < items.size(); ++i) {
      for (const Instance& instance : found[i]) {
        const auto category = category_ids_[static_cast<size_t>(instance.label)];
        if (!category) continue;
        const CocoImage& image = data_.images[items[i].index];
        results_.push_back(to_coco_result(instance, image.id, *category, images[i].size()));
      }
    }
  }

  const EvalJob& job_;
  CocoDataset& data_;
  Detector detector_;
  fs::path folder_;
  CategoryIds category_ids_;
  std::vector<CocoResult> results_;
};

// Results whose category the data set does not have are left out: worth a word.
std::optional<std::string> foreign_results(const CocoDataset& data,
                                           const std::vector<CocoResult>& results) {
  std::set<int64_t> known;
  for (const CocoCategory& category : data.categories) known.insert(category.id);
  const auto foreign = std::count_if(results.begin(), results.end(), [&](const CocoResult& result) {
    return !known.count(result.category_id);
  });
  if (foreign == 0) return std::nullopt;
  return std::to_string(foreign) + " of " + std::to_string(results.size()) +
         " results are of categories that " + data.name + " does not have, and are left out";
}

ordered_json figures_json(const CocoFigures& figures) {
  ordered_json out;
  for (size_t i = 0; i < kNumCocoFigures; ++i) out[kCocoFigures[i]] = figure_json(figures[i]);
  return out;
}

// Figures of all categories together, then those of each.
void report(const std::vector<CocoIou>& ious, const std::vector<CocoScores>& scores,
            Evaluation& out) {
  std::vector<std::vector<std::string>> all = {{""}}, each = {{"category", "objects"}};
  all[0].insert(all[0].end(), kCocoFigures.begin(), kCocoFigures.end());
  for (size_t i = 0; i < ious.size(); ++i) {
    const std::string name = iou_name(ious[i]);
    out.figures[name] = figures_json(scores[i].figures);
    all.push_back({name});
    for (const double figure : scores[i].figures) all.back().push_back(figure_text(figure));
    each[0].insert(each[0].end(), {name + " AP", name + " AP50"});
  }
  out.classes = ordered_json::array();
  for (size_t k = 0; k < scores[0].categories.size(); ++k) {
    const CocoCategoryScores& category = scores[0].categories[k];
    ordered_json entry = {{"id", category.category.id},
                          {"name", category.category.name},
                          {"objects", category.objects}};
    std::vector<std::string> row = {category.category.name, std::to_string(category.objects)};
    for (size_t i = 0; i < ious.size(); ++i) {
      const CocoFigures& figures = scores[i].categories[k].figures;
      entry[iou_name(ious[i])] = figures_json(figures);
      row.insert(row.end(), {figure_text(figures[0]), figure_text(figures[1])});
    }
    out.classes.push_back(std::move(entry));
    if (category.objects > 0) each.push_back(std::move(row));
  }
  out.table = table_text(all) + "\n" + table_text(each);
}

}  // namespace

Evaluation evaluate_detection(const EvalJob& job) {
  CocoDataset data = read_coco_dataset(job.data);
  Evaluation out;
  if (data.strays > 0) {
    out.warnings.push_back(data.name + ": " + std::to_string(data.strays) +
                           " annotations of images or categories that it does not list are left "
                           "out");
  }
  std::vector<CocoResult> results;
  if (job.weights.empty()) {
    results = read_coco_results_file(job.results);
    const auto is_weak = [&](const CocoResult& result) {
      return result.score < job.score_threshold;
    };
    results.erase(std::remove_if(results.begin(), results.end(), is_weak), results.end());
    if (const auto warning = foreign_results(data, results)) out.warnings.push_back(*warning);
  } else {
    DetectionRun run(job, data);
    out.device = run.device();
    results = run.run(out.skipped);
  }
  out.images = static_cast<int64_t>(data.images.size() - out.skipped.size());
  const std::vector<CocoIou> ious = job.ious.empty() ? available_ious(data, results) : job.ious;
  const auto unmeasured = unmeasured_masks(data);
  if (unmeasured && job.ious.empty()) out.warnings.push_back(*unmeasured);
  std::vector<CocoScores> scores;
  for (const CocoIou iou : ious) scores.push_back(evaluate_coco(data, results, iou));
  report(ious, scores, out);
  return out;
}

}  // namespace hornet::cli
