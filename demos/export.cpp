#include <hornet/backbone/error.h>
#include <hornet/interop/network.h>
#include <hornet/interop/onnx_model.h>
#include <hornet/pipelines/output_guard.h>

#include <filesystem>
#include <iostream>

#include "demos/cli.h"
#include "demos/commands.h"

namespace hornet::cli {
namespace {

Command export_command() {
  Command command;
  command.name = "export";
  command.summary =
      "Writes a network as an ONNX file that OpenCV, onnxruntime and OpenVINO read: a\n"
      "classifier's `logits`, a backbone's `feat0` to `feat3`, a detector's pyramid `fpn0` to\n"
      "`fpn(levels-1)` (5 levels, if the model says nothing else), or a UperNet's `logits` at\n"
      "the size of the input. The input is `input`, float32 [N,3,H,W], normalised as\n"
      "`hornet forward` writes it. Proposals, boxes and masks depend on the data and cannot be\n"
      "exported: `hornet detect` runs them.";
  command.usage =
      "hornet export --weights FILE --output FILE.onnx --size WxH [--dynamic-batch] [--opset N]";
  command.examples =
      "  hornet export --weights hornet_tiny_gf.pth --output hornet_tiny_gf.onnx --size 224\n"
      "  hornet export --weights upernet_hornet_tiny_7x7.pth --output upernet.onnx --size 512x512 "
      "--dynamic-batch";
  auto text = [](const char* name) { return po::value<std::string>()->value_name(name); };
  command.options.add_options()("weights", text("FILE")->required(),
                                "checkpoint: .pth as the authors publish it, or .safetensors")(
      "output", text("FILE")->required(), "ONNX file to write")(
      "size", text("WxH")->required(),
      "size of the input; global filters are interpolated for it, and the file takes no other")(
      "opset", po::value<int>()->value_name("N")->default_value(12),
      "version of ONNX's operators, 12 to 17; OpenCV 4.6 reads 12")(
      "dynamic-batch", po::bool_switch(), "any number of images at once; otherwise one")(
      "force", po::bool_switch(), "overwrite an existing output");
  return command;
}

std::string text_of(const graph::Graph& net, const std::vector<graph::Shape>& shapes,
                    graph::Value value) {
  const graph::Shape& shape = shapes[value];
  return net.nodes[value].name + " [N," + std::to_string(shape.channels) + "," +
         std::to_string(shape.height) + "," + std::to_string(shape.width) + "]";
}

}  // namespace

int run_export(int argc, char** argv) {
  const auto values = parse(export_command(), argc, argv);
  if (!values) return 0;
  check_distinct(*values, {"output"}, {"weights"});
  const cv::Size size = parse_size((*values)["size"].as<std::string>(), "--size");
  check_range(*values, "opset", 12, 17);
  OutputFile output((*values)["output"].as<std::string>(), (*values)["force"].as<bool>());
  const graph::Graph net = graph::read_graph(weights::read((*values)["weights"].as<std::string>()));
  graph::write_onnx(net, output.partial(),
                    {size.height, size.width, (*values)["opset"].as<int>(),
                     (*values)["dynamic-batch"].as<bool>()});
  output.commit();
  const std::vector<graph::Shape> shapes = graph::infer_shapes(net, size.height, size.width);
  std::cerr << "hornet: " << output.target().string() << ": " << text_of(net, shapes, 0) << " ->";
  for (const graph::Value value : net.outputs) std::cerr << ' ' << text_of(net, shapes, value);
  std::cerr << '\n';
  return 0;
}

}  // namespace hornet::cli
