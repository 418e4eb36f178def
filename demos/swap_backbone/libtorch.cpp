// A LibTorch program that learns to find discs in noise, pixel by pixel, with a small network of
// its own. The marked line makes it HorNet: nothing else knows channels or strides.
//
//   swap_backbone_libtorch [hornet_tiny_gf]
#include <hornet/backbone/adapter.h>
#include <torch/torch.h>

#include <iostream>

namespace nn = torch::nn;
using torch::Tensor;

// The program's own network: maps at strides 4 and 8.
struct SmallNetImpl : nn::Module {
  nn::Conv2d stem = register_module("stem", nn::Conv2d(nn::Conv2dOptions(3, 16, 4).stride(4)));
  nn::Conv2d deeper = register_module("deeper", nn::Conv2d(nn::Conv2dOptions(16, 32, 2).stride(2)));
  std::vector<Tensor> forward(const Tensor& images) {
    const Tensor fine = torch::relu(stem(images));
    return {fine, torch::relu(deeper(fine))};
  }
};
TORCH_MODULE(SmallNet);

// A logit per pixel: the sum over a backbone's levels, each through a 1x1 convolution.
struct SegmenterImpl : nn::Module {
  explicit SegmenterImpl(std::shared_ptr<hornet::Backbone> net) : backbone(net) {
    register_module("backbone", backbone);
    for (const auto& level : net->feature_info())
      heads->push_back(nn::Conv2d(level.channels, 1, 1));
  }
  Tensor forward(const Tensor& images) {
    Tensor sum = torch::zeros({1});
    const hornet::Features maps = backbone->forward(images);
    for (size_t i = 0; i < maps.size(); ++i) {
      const Tensor logits = heads[i]->as<nn::Conv2d>()->forward(maps[i]);
      sum = sum + torch::upsample_bilinear2d(logits, images.sizes().slice(2), false);
    }
    return sum;
  }
  std::shared_ptr<hornet::Backbone> backbone;
  nn::ModuleList heads = register_module("heads", nn::ModuleList());
};
TORCH_MODULE(Segmenter);

int main(int argc, char** argv) {
  torch::manual_seed(1);
  auto backbone = hornet::as_backbone(SmallNet(), {{16, 4}, {32, 8}});
  if (argc > 1) backbone = hornet::make_backbone(argv[1]);  // <-- the line
  Segmenter model(backbone);
  torch::optim::Adam optimiser(model->parameters(), 1e-3);
  const Tensor squares = torch::linspace(-1, 1, 64).square();
  const Tensor disc = (squares + squares.unsqueeze(1) < 0.4).to(torch::kFloat32);
  for (int step = 0; step < 6; ++step, optimiser.step()) {
    const Tensor logits = model->forward(disc + 0.3 * torch::randn({2, 3, 64, 64}));
    const Tensor loss = torch::binary_cross_entropy_with_logits(logits, disc.expand_as(logits));
    std::cout << backbone->feature_info().size() << " maps, loss " << loss.item<float>() << '\n';
    optimiser.zero_grad();
    loss.backward();
  }
}
