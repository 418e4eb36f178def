#include <hornet/backbone/weights/checkpoint.h>
#include <hornet/heads/torchvision_layout.h>

#include <memory>
#include <utility>
#include <vector>

namespace hornet {
namespace {

// What becomes of the rows that belong to the background, the first class.
enum class Background { kHasNone, kMovesLast, kIsDropped, kIsDroppedAsBox };

// The beginnings of names that differ.
struct Row {
  std::string native, newer, older;
  Background background = Background::kHasNone;
};

// Before the names that MaskRcnn has no tensor for, which must not be taken for one of its own.
const char kForeign[] = "torchvision:";

std::vector<Row> make_rows() {
  const std::string box = "roi_heads.box_predictor.", mask = "roi_heads.mask_predictor.";
  std::vector<Row> rows = {
      {"backbone.", "backbone.body.", "backbone.body."},
      {"rpn_head.rpn_conv.", "rpn.head.conv.0.0.", "rpn.head.conv."},
      {"rpn_head.rpn_cls.", "rpn.head.cls_logits.", "rpn.head.cls_logits."},
      {"rpn_head.rpn_reg.", "rpn.head.bbox_pred.", "rpn.head.bbox_pred."},
      {"roi_head.bbox_head.shared_fcs.0.", "roi_heads.box_head.fc6.", "roi_heads.box_head.fc6."},
      {"roi_head.bbox_head.shared_fcs.1.", "roi_heads.box_head.fc7.", "roi_heads.box_head.fc7."},
      {"roi_head.bbox_head.fc_cls.", box + "cls_score.", box + "cls_score.",
       Background::kMovesLast},
      {"roi_head.bbox_head.fc_reg.", box + "bbox_pred.", box + "bbox_pred.",
       Background::kIsDroppedAsBox},
      {"roi_head.mask_head.upsample.", mask + "conv5_mask.", mask + "conv5_mask."},
      {"roi_head.mask_head.conv_logits.", mask + "mask_fcn_logits.", mask + "mask_fcn_logits.",
       Background::kIsDropped}};
  for (int i = 0; i < 4; ++i) {
    const std::string index = std::to_string(i) + ".", fpn = "backbone.fpn.";
    rows.push_back({"neck.lateral_convs." + index + "conv.", fpn + "inner_blocks." + index + "0.",
                    fpn + "inner_blocks." + index});
    rows.push_back({"neck.fpn_convs." + index + "conv.", fpn + "layer_blocks." + index + "0.",
                    fpn + "layer_blocks." + index});
    rows.push_back({"roi_head.mask_head.convs." + index + "conv.",
                    "roi_heads.mask_head." + index + "0.",
                    "roi_heads.mask_head.mask_fcn" + std::to_string(i + 1) + "."});
  }
  return rows;
}

const std::vector<Row>& rows() {
  static const std::vector<Row> instance = make_rows();
  return instance;
}

// Whether `name` is `prefix` and one more word; of the backbone, whose names are the same further
// on, and more words.
bool begins_with(const std::string& name, const std::string& prefix) {
  const bool begins = name.size() > prefix.size() && name.compare(0, prefix.size(), prefix) == 0;
  const bool is_backbone = prefix == "backbone." || prefix == "backbone.body.";
  return begins && (is_backbone || name.find('.', prefix.size()) == std::string::npos);
}

// The tensor without its first rows.
weights::Tensor without_rows(weights::Tensor tensor, int64_t rows) {
  if (tensor.shape.empty() || tensor.shape[0] <= rows) return tensor;
  tensor.shape[0] -= rows;
  tensor.data += rows * tensor.strides[0] * weights::element_size(tensor.dtype);
  return tensor;
}

// Keeps what a file's tensors point into, and what was made for a changed one.
struct Storage {
  std::shared_ptr<const void> file;
  std::vector<torch::Tensor> made;
};

weights::Tensor rearranged(const weights::Tensor& tensor, Background background, Storage& storage) {
  switch (background) {
    case Background::kMovesLast:
      if (tensor.shape.empty()) return tensor;
      storage.made.push_back(weights::to_torch(tensor).roll(-1, 0).contiguous());
      return weights::from_torch(storage.made.back());
    case Background::kIsDropped:
      return without_rows(tensor, 1);
    case Background::kIsDroppedAsBox:
      return without_rows(tensor, 4);
    case Background::kHasNone:
      break;
  }
  return tensor;
}

}  // namespace

bool has_torchvision_names(const weights::File& file) {
  return file.tensors.count("rpn.head.cls_logits.weight") > 0 ||
         file.tensors.count("backbone.body.conv1.weight") > 0;
}

bool has_older_torchvision_names(const weights::File& file) {
  return file.tensors.count("rpn.head.conv.weight") > 0;
}

weights::File from_torchvision(const weights::File& file) {
  const bool older = has_older_torchvision_names(file);
  const auto storage = std::make_shared<Storage>(Storage{file.storage, {}});
  weights::File out = file;
  out.tensors.clear();
  for (const auto& [name, tensor] : file.tensors) {
    std::string native = kForeign + name;
    weights::Tensor changed = tensor;
    for (const Row& row : rows()) {
      const std::string& prefix = older ? row.older : row.newer;
      if (!begins_with(name, prefix)) continue;
      native = row.native + name.substr(prefix.size());
      changed = rearranged(tensor, row.background, *storage);
    }
    out.tensors.emplace(native, changed);
  }
  out.storage = storage;
  return out;
}

std::string torchvision_name(const std::string& name, bool older) {
  if (name.rfind(kForeign, 0) == 0) return name.substr(sizeof(kForeign) - 1);
  for (const Row& row : rows()) {
    if (!begins_with(name, row.native)) continue;
    return (older ? row.older : row.newer) + name.substr(row.native.size());
  }
  return name;
}

}  // namespace hornet
