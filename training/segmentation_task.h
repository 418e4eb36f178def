// Semantic segmentation with UperNet: pairs of images and label maps, the authors' losses, mIoU.
//
//   SegmentationOptions options{official_architecture("upernet_hornet_pico_gf"), palette};
//   SegmentationTask task(read_sample_list("train.lst"), read_sample_list("val.lst"), options);
//   initialise(task.model(), Initialisation::kFanIn);
//   Trainer(task, trainer_options).run();
//
// The loss is the cross-entropy of the logits, resized to the crop's size, plus `auxiliary_weight`
// times that of the FCN head on stride 16. Both are means over all pixels of the batch in which
// pixels without a class count as 0, mmseg's convention: two processes with half of a batch each
// find the same mean, and a crop without any class has loss 0.
#pragma once

#include <hornet/heads/model.h>
#include <hornet/pipelines/palette.h>
#include <hornet/training/augment.h>
#include <hornet/training/task.h>

namespace hornet {

struct SegmentationOptions {
  Architecture architecture;  // with a segmentor, for as many classes as the palette has
  Palette palette;
  AugmentOptions augment;
  int ignore_label = 255;
  bool reduce_zero_label = false;  // files count classes from 1, and 0 is none
  double auxiliary_weight = 0.4;
  double class_balance = 0;                // power, see balanced_weights(): reads all labels first
  bool whole = false;                      // validation: the image at once, or in windows
  int tile = 512, stride = 341;            // of the windows
  int64_t cache_bytes = int64_t{1} << 30;  // of decoded images
};

class SegmentationTask : public TrainingTask {
 public:
  SegmentationTask(std::vector<SamplePaths> training, std::vector<SamplePaths> validation,
                   const SegmentationOptions& options);

  torch::nn::Module& model() override { return *model_; }
  int64_t size() const override { return static_cast<int64_t>(training_.size()); }
  Example example(int64_t index, uint64_t seed) const override;  // targets: labels [H,W], int64
  Losses losses(const Batch& batch) override;                    // "decode", "aux"
  // "mIoU", "mAcc", "aAcc", "IoU CLASS"...
  Metrics evaluate(const Validation& validation) override;
  weights::Metadata metadata() const override;
  std::vector<std::string> training_only() const override { return {"auxiliary_head."}; }

  // [C], undefined without class_balance.
  const torch::Tensor& class_weights() const { return class_weights_; }

 private:
  torch::Tensor weigh_classes() const;
  cv::Mat predict(const cv::Mat& bgr, const Runtime& runtime);

  SegmentationOptions options_;
  LabelledImages training_, validation_;
  torch::Tensor class_weights_;
  UperNet model_{nullptr};
};

// The mean over all pixels of the cross-entropy of logits [N,C,h,w], resized to the size of
// labels [N,H,W]; those labelled `ignore` count as 0. `class_weights` [C] may be undefined.
torch::Tensor pixel_cross_entropy(const torch::Tensor& logits, const torch::Tensor& labels,
                                  int64_t ignore, const torch::Tensor& class_weights = {});

}  // namespace hornet
