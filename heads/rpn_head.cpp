#include <hornet/backbone/plan/conv_plan.h>
#include <hornet/heads/rpn_head.h>

namespace hornet {
namespace {

struct Candidates {
  torch::Tensor scores, boxes;  // [K], [K,4]
};

// The indices of the `count` largest values in descending order, the first of equals first. On a
// CPU it takes most of the time to sort all positions of the finest level: only those are sorted
// that reach the smallest of the largest (what is not a number counts as the largest).
torch::Tensor largest(const torch::Tensor& values, int64_t count) {
  const auto sorted = [&](const torch::Tensor& some) {
    return some.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true).slice(0, 0, count);
  };
  if (count == 0 || count >= values.size(0) || !values.is_cpu()) return sorted(values);
  const torch::Tensor least =
      std::get<0>(values.topk(count, /*dim=*/0, /*largest=*/true, /*sorted=*/false)).min();
  const torch::Tensor reach_it = (values < least).logical_not().nonzero().squeeze(1);
  return reach_it.index_select(0, sorted(values.index_select(0, reach_it)));
}

// The best candidates of one level, decoded and clipped.
Candidates level_candidates(const torch::Tensor& cls, const torch::Tensor& reg,
                            torch::Tensor anchors, const RpnHeadOptions& options,
                            const ImageSize& image) {
  const torch::Tensor logits = cls.permute({1, 2, 0}).reshape(-1).to(torch::kFloat32);
  torch::Tensor scores = logits.sigmoid();
  torch::Tensor deltas = reg.permute({1, 2, 0}).reshape({-1, 4}).to(torch::kFloat32);
  if (scores.size(0) > options.pre_nms() || options.rank_by_logits()) {
    const torch::Tensor best =
        largest(options.rank_by_logits() ? logits : scores, options.pre_nms());
    scores = scores.index_select(0, best);
    deltas = deltas.index_select(0, best);
    anchors = anchors.index_select(0, best);
  }
  return {scores,
          decode_deltas(anchors, deltas, {1.0, 1.0, 1.0, 1.0}, image, options.limit_shrinking())};
}

}  // namespace

RpnHeadImpl::RpnHeadImpl(const RpnHeadOptions& options_) : options(options_) {
  TORCH_CHECK(!options.inputs().empty(), "RpnHead: needs at least one level");
  const int64_t in = options.inputs().front().channels, channels = options.channels();
  const int64_t anchors = options.anchors().per_position();
  auto conv = [](int64_t from, int64_t to, int64_t kernel) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, kernel).padding(kernel / 2));
  };
  rpn_conv = register_module("rpn_conv", conv(in, channels, 3));
  rpn_cls = register_module("rpn_cls", conv(channels, anchors, 1));
  rpn_reg = register_module("rpn_reg", conv(channels, 4 * anchors, 1));
}

void RpnHeadImpl::prepare() {
  prepared_ = std::make_shared<plan::PreparedConv>();
  prepared_->prepare(rpn_conv, nullptr, /*relu=*/true);
}

int64_t RpnHeadImpl::prepared_bytes() const { return prepared_ ? prepared_->bytes() : 0; }

torch::Tensor RpnHeadImpl::hidden(const torch::Tensor& level) {
  if (prepared_) {
    if (const auto y = prepared_->forward(*this, level)) return *y;
  }
  return torch::relu(rpn_conv->forward(level));
}

RpnOutputs RpnHeadImpl::forward(const Features& levels) {
  TORCH_CHECK(levels.size() == options.inputs().size(), "RpnHead: expected ",
              options.inputs().size(), " levels, got ", levels.size());
  RpnOutputs outputs;
  for (const torch::Tensor& level : levels) {
    const torch::Tensor features = hidden(level);
    outputs.cls.push_back(rpn_cls->forward(features));
    outputs.reg.push_back(rpn_reg->forward(features));
  }
  return outputs;
}

torch::Tensor RpnHeadImpl::proposals(const RpnOutputs& outputs, int64_t index,
                                     const ImageSize& image, const RpnHeadOptions& numbers) const {
  std::vector<torch::Tensor> scores, boxes, levels;
  const int64_t finest = numbers.inputs().front().stride;
  const ImageSize padded = {outputs.cls.front().size(2) * finest,
                            outputs.cls.front().size(3) * finest};
  for (size_t level = 0; level < outputs.cls.size(); ++level) {
    const torch::Tensor cls = outputs.cls[level][index];
    const torch::Tensor anchors =
        level_anchors(numbers.anchors(), cls.size(1), cls.size(2), numbers.inputs()[level].stride,
                      cls.device(), padded);
    const Candidates found =
        level_candidates(cls, outputs.reg[level][index], anchors, numbers, image);
    scores.push_back(found.scores);
    boxes.push_back(found.boxes);
    levels.push_back(torch::full_like(found.scores, static_cast<double>(level), torch::kInt64));
  }
  torch::Tensor all_scores = torch::cat(scores), all_boxes = torch::cat(boxes);
  torch::Tensor all_levels = torch::cat(levels);
  const torch::Tensor valid = large_enough(all_boxes, numbers.min_size());
  all_scores = all_scores.index_select(0, valid);
  all_boxes = all_boxes.index_select(0, valid);
  all_levels = all_levels.index_select(0, valid);
  const torch::Tensor keep = ops::batched_nms(all_boxes, all_scores, all_levels, numbers.nms_iou(),
                                              numbers.nms_split_above())
                                 .slice(0, 0, numbers.max_proposals());
  return torch::cat(
      {all_boxes.index_select(0, keep), all_scores.index_select(0, keep).unsqueeze(1)}, 1);
}

}  // namespace hornet
