#include <hornet/backbone/error.h>
#include <hornet/pipelines/result_writers.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace hornet {
namespace {

using nlohmann::ordered_json;

// `head`, then the members of `tail`.
ordered_json joined(ordered_json head, const ordered_json& tail) {
  for (const auto& [key, value] : tail.items()) head[key] = value;
  return head;
}

// A class name or path that is not UTF-8 must not cost the run.
std::string dump(const ordered_json& object) {
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

ResultStream::ResultStream(OutputFile file) : file_(std::move(file)) {
  file_stream_.open(file_->partial(), std::ios::binary);
  file_->check(file_stream_);
}

ResultStream::ResultStream(std::ostream& stream) : external_(&stream) {}

void ResultStream::keep_partial() {
  if (file_) file_->keep();
}

void ResultStream::flush() {
  stream().flush();
  if (file_) {
    file_->check(file_stream_);
  } else if (!*external_) {
    throw Error(ErrorCode::kOutput, "the results cannot be written: their stream is closed");
  }
}

void ResultStream::finish() {
  flush();
  if (!file_) return;
  file_stream_.close();
  file_->check(file_stream_);
  file_->commit();
}

JsonLinesWriter::JsonLinesWriter(ResultStream stream, ClassTable classes)
    : stream_(std::move(stream)), classes_(std::move(classes)) {}

void JsonLinesWriter::write(const FrameInfo& frame, const std::vector<Instance>& instances) {
  const ordered_json head = {{"frame", frame.index},
                             {"timestamp_ms", std::round(frame.timestamp_ms * 1e3) / 1e3}};
  for (const Instance& instance : instances) {
    const ordered_json object = to_coco(instance, {frame.width, frame.height}, classes_);
    stream_.stream() << dump(joined(head, object)) << '\n';
    ++objects_;
  }
  stream_.flush();
  stream_.keep_partial();
}

void JsonLinesWriter::finish() { stream_.finish(); }

CocoResultsWriter::CocoResultsWriter(ResultStream stream, ClassTable classes)
    : stream_(std::move(stream)), classes_(std::move(classes)) {
  stream_.stream() << '[';
}

int64_t CocoResultsWriter::write(cv::Size image, const std::vector<Instance>& instances) {
  ++images_;
  add(image, instances);
  return images_;
}

void CocoResultsWriter::add(cv::Size image, const std::vector<Instance>& instances) {
  for (const Instance& instance : instances) {
    const ordered_json object = to_coco(instance, image, classes_);
    stream_.stream() << (objects_ == 0 ? "\n" : ",\n")
                     << dump(joined({{"image_id", images_}}, object));
    ++objects_;
  }
  stream_.flush();
}

void CocoResultsWriter::finish() {
  stream_.stream() << "\n]\n";
  stream_.finish();
}

}  // namespace hornet
