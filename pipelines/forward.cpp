#include <hornet/pipelines/forward.h>
#include <hornet/pipelines/model_defaults.h>

#include <regex>

namespace hornet {
namespace {

// Collects what a model's taps and its results give, on the CPU and contiguous.
class Collector {
 public:
  void operator()(const std::string& name, const torch::Tensor& value) {
    values_.emplace_back(name, value.to(torch::kCPU).contiguous());
  }
  Tap tap() {
    return [this](const std::string& name, const torch::Tensor& value) { (*this)(name, value); };
  }
  NamedTensors take() { return std::move(values_); }

 private:
  NamedTensors values_;
};

void forward_classifier(HorNetClassifier& model, const torch::Tensor& images, Collector& out) {
  const ClassifierOutputs outputs = model->forward_stages(images);
  tap_all(out.tap(), "stage", outputs.stages);
  out("pooled", outputs.pooled);
  out("logits", outputs.logits);
}

// The final detections of all images of a batch; image_index tells them apart.
void forward_detector(MaskRcnn& model, const torch::Tensor& images, const ForwardInput& input,
                      Collector& out) {
  const std::vector<ImageSize> sizes(images.size(0), input.image_size);
  const Conventions conventions = model->conventions;
  std::vector<torch::Tensor> boxes, scores, labels, masks, index;
  for (const Detections& found : model->forward(images, sizes, out.tap())) {
    const torch::Tensor original =
        to_original(found.boxes, input.image_size, input.original_size, conventions);
    const int64_t height = input.original_size.height, width = input.original_size.width;
    const ops::PastedMasks pasted =
        ops::paste_masks(found.mask_probs, original, height, width, 0.5, paste_rule(conventions));
    masks.push_back(ops::to_canvases(pasted, height, width));
    index.push_back(
        torch::full({original.size(0)}, static_cast<int64_t>(index.size()), torch::kInt64));
    boxes.push_back(original);
    scores.push_back(found.scores);
    labels.push_back(found.labels);
  }
  out("boxes", torch::cat(boxes));
  out("scores", torch::cat(scores));
  out("labels", torch::cat(labels).to(torch::kInt32));
  out("masks", torch::cat(masks));
  if (images.size(0) > 1) out("image_index", torch::cat(index));
}

void forward_segmentor(UperNet& model, const torch::Tensor& images, const ForwardInput& input,
                       const ForwardOptions& options, Collector& out) {
  torch::Tensor logits;
  if (options.slide) {
    logits = model->slide(images, *options.slide);
  } else {
    const torch::Tensor lowres = model->forward(images, out.tap());
    out("lowres_logits", lowres);
    logits = resize_bilinear(lowres, images.size(2), images.size(3));
  }
  const torch::Tensor original = resize_bilinear(
      logits.narrow(2, 0, input.image_size.height).narrow(3, 0, input.image_size.width),
      input.original_size.height, input.original_size.width);
  out("logits", logits);
  out("ori_logits", original);
  const torch::Tensor labels = original.argmax(1);
  const bool bytes = model->decode_head->options.num_classes() <= 255;
  const torch::Tensor typed = labels.to(bytes ? torch::kUInt8 : torch::kInt32);
  out("labels", images.size(0) == 1 ? typed.squeeze(0) : typed);
}

// The part of a configuration around test_cfg's mode='slide', which has crop_size=(640, 640) and
// stride=(426, 426) beside it in any order, in a Python or a JSON spelling; "" without one. Short,
// since matching a regular expression takes stack in proportion to the text, and this one is from a
// stranger.
std::string around_slide_mode(const std::string& config) {
  constexpr size_t kNearby = 200;
  static const std::regex mode("mode['\"]?\\s*[:=]\\s*['\"]slide['\"]");
  for (size_t at = config.find("slide"); at != std::string::npos;
       at = config.find("slide", at + 1)) {
    const std::string nearby = config.substr(at - std::min(at, kNearby), 2 * kNearby);
    if (std::regex_search(nearby, mode)) return nearby;
  }
  return "";
}

// 640 of "key=(640, 640)"; 0 if the key is not there.
int64_t first_of_pair(const std::string& text, const std::string& key) {
  const std::regex pattern(key + "['\"]?\\s*[:=]\\s*[\\[(]\\s*(\\d{2,5})\\b");
  std::smatch match;
  return std::regex_search(text, match, pattern) ? std::stoll(match[1]) : 0;
}

}  // namespace

torch::Tensor to_original(const torch::Tensor& boxes, const ImageSize& image_size,
                          const ImageSize& original_size, Conventions conventions) {
  if (conventions == Conventions::kTorchvision) {
    const auto ratio = [](int64_t original, int64_t scaled) {
      return static_cast<float>(original) / static_cast<float>(scaled);
    };
    const float x = ratio(original_size.width, image_size.width);
    const float y = ratio(original_size.height, image_size.height);
    return boxes * torch::tensor({x, y, x, y}, boxes.options());
  }
  const double x = static_cast<double>(image_size.width) / original_size.width;
  const double y = static_cast<double>(image_size.height) / original_size.height;
  return boxes / torch::tensor({x, y, x, y}, boxes.options());
}

NamedTensors forward_stages(LoadedModel& model, const ForwardInput& input,
                            const ForwardOptions& options, const Runtime& runtime) {
  runtime.place(as_module(model.module));
  return runtime.run([&] {
    const torch::Tensor images = input.input.to(runtime.device());
    Collector out;
    if (input.resized.defined()) out("resized_u8_rgb", input.resized);
    out("input", input.input);
    if (auto* classifier = std::get_if<HorNetClassifier>(&model.module)) {
      forward_classifier(*classifier, images, out);
    } else if (auto* backbone = dynamic_cast<Backbone*>(&as_module(model.module))) {
      tap_all(out.tap(), "feat", backbone->forward(images));
    } else if (auto* detector = std::get_if<MaskRcnn>(&model.module)) {
      forward_detector(*detector, images, input, out);
    } else {
      forward_segmentor(std::get<UperNet>(model.module), images, input, options, out);
    }
    return out.take();
  });
}

ForwardInput forward_input(const cv::Mat& bgr, const PreprocessOptions& options) {
  const Preprocessed image = preprocess(bgr, options);
  ForwardInput out;
  out.input = image.input;
  out.image_size = {image.image_size.height, image.image_size.width};
  out.original_size = {image.original_size.height, image.original_size.width};
  const cv::Mat& rgb = image.resized_rgb;
  if (rgb.empty()) return out;
  out.resized = torch::from_blob(rgb.data, {rgb.rows, rgb.cols, 3},
                                 {static_cast<int64_t>(rgb.step[0]), 3, 1}, torch::kUInt8)
                    .clone();
  return out;
}

SlideOptions official_slide(const LoadedModel& model) {
  SlideOptions slide;
  const auto* hornet = std::get_if<HorNetOptions>(&model.architecture.backbone);
  if (hornet && hornet->base_dim >= 192) slide = {640, 426};
  const auto usable = [](const SlideOptions& o) {
    return o.tile >= 32 && o.stride >= 1 && o.stride <= o.tile;
  };
  const SegmentDefaults own = segment_defaults(model.meta);
  const SlideOptions said = {own.tile.value_or(0), own.stride.value_or(own.tile.value_or(0))};
  if (usable(said)) return said;
  const auto config = model.meta.entries.find("config");
  if (config == model.meta.entries.end()) return slide;
  const std::string nearby = around_slide_mode(config->second);
  const SlideOptions trained = {first_of_pair(nearby, "crop_size"),
                                first_of_pair(nearby, "stride")};
  return usable(trained) ? trained : slide;
}

PreprocessOptions official_preprocess(const LoadedModel& model) {
  const auto own = default_size(model.meta);
  switch (model.architecture.task) {
    case Task::kDetection: {
      const Conventions conventions = model.architecture.detector->conventions;
      return own ? detection_preprocess(conventions, *own) : detection_preprocess(conventions);
    }
    case Task::kSegmentation: {
      const int tile = static_cast<int>(official_slide(model).tile);
      return segmentation_preprocess(own.value_or(cv::Size(4 * tile, tile)));
    }
    default: {
      const auto* hornet = std::get_if<HorNetOptions>(&model.architecture.backbone);
      if (!hornet) return classification_preprocess();
      const auto official = static_cast<int>(classification_size(*hornet));
      return classification_preprocess(own ? own->width : official);
    }
  }
}

PreprocessOptions detection_preprocess(Conventions conventions, cv::Size scale) {
  return conventions == Conventions::kTorchvision ? torchvision_detection_preprocess(scale)
                                                  : detection_preprocess(scale);
}

ops::PasteRule paste_rule(Conventions conventions) {
  return conventions == Conventions::kTorchvision ? ops::PasteRule::kWholePixels
                                                  : ops::PasteRule::kSubpixel;
}

}  // namespace hornet
