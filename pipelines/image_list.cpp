#include <hornet/backbone/error.h>
#include <hornet/pipelines/image_list.h>
#include <hornet/pipelines/internal/fail_input.h>

#include <fstream>

namespace hornet {
namespace {

namespace fs = std::filesystem;

std::string trimmed(const std::string& text, const char* what) {
  const size_t first = text.find_first_not_of(what);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(what) - first + 1);
}

fs::path beside(const fs::path& list, const std::string& name) { return list.parent_path() / name; }

}  // namespace

std::vector<ListedImage> read_image_list(const fs::path& list) {
  constexpr const char* kSpace = " \t\r";
  std::error_code ignored;
  if (!fs::exists(list, ignored)) internal::fail_input(list.string() + ": no such file");
  if (fs::is_directory(list, ignored))
    internal::fail_input(list.string() + ": expected a list, found a folder");
  std::ifstream stream(list);
  std::vector<ListedImage> images;
  size_t number = 0;
  for (std::string raw; std::getline(stream, raw);) {
    ++number;
    const std::string line = trimmed(raw, kSpace);
    if (line.empty() || line[0] == '#') continue;
    const char* separators = line.find('\t') == std::string::npos ? " " : "\t";
    const size_t end = line.find_first_of(separators);
    const std::string label = end == std::string::npos ? "" : trimmed(line.substr(end), kSpace);
    if (label.empty() || label.find_first_of(separators) != std::string::npos) {
      internal::fail_input(
          list.string() + ": line " + std::to_string(number) +
          ": expected an image and a label, separated by white space (a tab, if names have "
          "spaces)");
    }
    images.push_back({beside(list, trimmed(line.substr(0, end), kSpace)), label, number});
  }
  if (stream.bad()) internal::fail_input(list.string() + ": cannot be read");
  if (images.empty()) internal::fail_input(list.string() + ": the list has no images");
  return images;
}

fs::path label_path(const fs::path& list, const ListedImage& listed) {
  return beside(list, listed.label);
}

}  // namespace hornet
