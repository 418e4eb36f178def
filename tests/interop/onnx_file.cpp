#include "tests/interop/onnx_file.h"

#include <onnx/checker.h>
#include <onnx/onnx_pb.h>

#include <fstream>
#include <stdexcept>

namespace hornet::testing {
namespace {

OnnxValue describe(const ::onnx::ValueInfoProto& info) {
  OnnxValue value{info.name(), {}, {}};
  const auto& shape = info.type().tensor_type().shape();
  for (const auto& dim : shape.dim()) value.shape.push_back(dim.dim_value());
  if (shape.dim_size() > 0) value.batch = shape.dim(0).dim_param();
  return value;
}

}  // namespace

OnnxFile read_onnx(const std::filesystem::path& path) {
  ::onnx::ModelProto model;
  std::ifstream stream(path, std::ios::binary);
  if (!model.ParseFromIstream(&stream)) throw std::runtime_error(path.string() + " is no ONNX");
  ::onnx::checker::check_model(model);
  OnnxFile file;
  file.opset = model.opset_import(0).version();
  for (const auto& info : model.graph().input()) file.inputs.push_back(describe(info));
  for (const auto& info : model.graph().output()) file.outputs.push_back(describe(info));
  for (const auto& node : model.graph().node()) file.operations.insert(node.op_type());
  return file;
}

}  // namespace hornet::testing
