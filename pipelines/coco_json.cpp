#include <hornet/backbone/error.h>
#include <hornet/pipelines/internal/coco_json.h>

#include <fstream>
#include <limits>
#include <numeric>
#include <sstream>

namespace hornet::internal {
namespace {

using nlohmann::json;

int side(const json& value) {
  const int64_t pixels = integer(value, "size");
  if (pixels < 0 || pixels > std::numeric_limits<int>::max()) fail_input("'size' is not a size");
  return static_cast<int>(pixels);
}

std::vector<uint32_t> counts_of(const json& value) {
  if (value.is_string()) return decode_counts(value.get_ref<const std::string&>());
  if (!value.is_array()) fail_input("'counts' is neither compressed run lengths nor a list");
  std::vector<uint32_t> counts;
  counts.reserve(value.size());
  for (const json& item : value) {
    const int64_t count = integer(item, "counts");
    if (count < 0 || count > std::numeric_limits<uint32_t>::max()) {
      fail_input("'counts' has " + std::to_string(count) + ", which is no run length");
    }
    counts.push_back(static_cast<uint32_t>(count));
  }
  return counts;
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) fail_input(path.string() + ": no such file");
  if (std::filesystem::is_directory(path, ignored)) {
    fail_input(path.string() + ": expected a file, found a folder");
  }
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  if (!stream) fail_input(path.string() + ": cannot be read; check that it is a file you may read");
  return text.str();
}

json parse_document(const std::string& text, const std::string& name) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    fail_input(name + ": broken JSON at byte " + std::to_string(error.byte) + " of " +
               std::to_string(text.size()));
  } catch (const json::exception&) {
    fail_input(name + ": broken JSON: a number that is too large");
  }
}

const json& member(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail_input(std::string("'") + key + "' is missing");
  return *found;
}

int64_t integer(const json& value, const char* key) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits) fail_input(std::string("'") + key + "' is not an integer");
  return value.get<int64_t>();
}

double number(const json& value, const char* key) {
  if (!value.is_number()) fail_input(std::string("'") + key + "' is not a number");
  return value.get<double>();
}

const json& array_of(const json& value, size_t size, const char* key) {
  if (!value.is_array() || value.size() != size) {
    fail_input(std::string("'") + key + "' is not an array of " + std::to_string(size));
  }
  return value;
}

RunLengthMask run_length_mask(const json& value) {
  if (!value.is_object()) fail_input("'segmentation' is not {size, counts}");
  const json& size = array_of(member(value, "size"), 2, "size");
  RunLengthMask mask;
  mask.size = {side(size[1]), side(size[0])};
  mask.counts = counts_of(member(value, "counts"));
  const uint64_t pixels = uint64_t(mask.size.width) * uint64_t(mask.size.height);
  if (std::accumulate(mask.counts.begin(), mask.counts.end(), uint64_t{0}) != pixels) {
    fail_input("'counts' do not add up to the " + std::to_string(pixels) + " pixels of 'size'");
  }
  return mask;
}

}  // namespace hornet::internal
