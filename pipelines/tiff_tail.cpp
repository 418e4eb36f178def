#include <hornet/pipelines/internal/tiff_tail.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace hornet::internal {
namespace {

enum Tag : uint16_t { kTileOffsets = 324, kTileByteCounts = 325 };

struct Entry {
  uint16_t tag = 0;
  uint64_t value_size = 0;  // bytes of one value
  uint64_t count = 0;
  uint64_t position = 0;  // of the values in the file
};

uint64_t size_of_type(uint16_t type) {
  switch (type) {
    case 3:  // SHORT
    case 8:
      return 2;
    case 4:  // LONG
    case 9:
    case 11:
      return 4;
    case 5:  // RATIONAL
    case 10:
    case 12:
    case 16:  // LONG8
    case 17:
    case 18:
      return 8;
    default:
      return 1;
  }
}

struct Damaged : std::runtime_error {
  Damaged() : std::runtime_error("not a TIFF of ours") {}
};

class Tiff {
 public:
  explicit Tiff(const std::filesystem::path& path)
      : stream_(path, std::ios::binary | std::ios::in | std::ios::out),
        size_(std::filesystem::file_size(path)) {
    const uint64_t magic = number(0, 4);
    if (magic != 0x2a4949 && magic != 0x2b4949) throw Damaged();
    big_ = magic == 0x2b4949;
    read_directory(big_ ? number(8, 8) : number(4, 4));
  }

  // Where the last byte ends that the directory refers to.
  uint64_t end() {
    uint64_t end = link_ + (big_ ? 8 : 4);
    std::vector<uint64_t> offsets, sizes;
    for (const Entry& entry : entries_) {
      end = std::max(end, entry.position + entry.value_size * entry.count);
      if (entry.tag == kTileOffsets) offsets = values(entry);
      if (entry.tag == kTileByteCounts) sizes = values(entry);
    }
    if (offsets.empty() || offsets.size() != sizes.size()) throw Damaged();
    for (size_t i = 0; i < offsets.size(); ++i) {
      if (sizes[i] > size_ || offsets[i] > size_ - sizes[i]) throw Damaged();
      if (sizes[i] > 0) end = std::max(end, offsets[i] + sizes[i]);
    }
    return end;
  }

  // Makes the first directory the only one.
  void unlink() {
    constexpr char kNone[8] = {};
    stream_.seekp(static_cast<std::streamoff>(link_));
    stream_.write(kNone, big_ ? 8 : 4);
    stream_.close();
    if (!stream_) throw Damaged();
  }

 private:
  std::vector<char> bytes(uint64_t position, uint64_t count) {
    if (position > size_ || count > size_ - position) throw Damaged();
    std::vector<char> result(count);
    stream_.seekg(static_cast<std::streamoff>(position));
    stream_.read(result.data(), static_cast<std::streamsize>(count));
    if (!stream_) throw Damaged();
    return result;
  }

  static uint64_t decode(const char* bytes, uint64_t count) {
    uint64_t value = 0;
    std::memcpy(&value, bytes, count);
    return value;
  }

  uint64_t number(uint64_t position, uint64_t count) {
    return decode(bytes(position, count).data(), count);
  }

  std::vector<uint64_t> values(const Entry& entry) {
    const std::vector<char> data = bytes(entry.position, entry.value_size * entry.count);
    std::vector<uint64_t> result;
    for (size_t i = 0; i < data.size(); i += entry.value_size) {
      result.push_back(decode(&data[i], entry.value_size));
    }
    return result;
  }

  void read_directory(uint64_t position) {
    const uint64_t word = big_ ? 8 : 4;
    const uint64_t count = number(position, big_ ? 8 : 2);
    if (count > UINT16_MAX) throw Damaged();
    position += big_ ? 8 : 2;
    for (uint64_t i = 0; i < count; ++i, position += 4 + 2 * word) {
      Entry entry;
      entry.tag = static_cast<uint16_t>(number(position, 2));
      entry.value_size = size_of_type(static_cast<uint16_t>(number(position + 2, 2)));
      entry.count = number(position + 4, word);
      if (entry.count > size_) throw Damaged();
      const bool inside = entry.value_size * entry.count <= word;
      entry.position = inside ? position + 4 + word : number(position + 4 + word, word);
      entries_.push_back(entry);
    }
    link_ = position;
  }

  std::fstream stream_;
  uint64_t size_;
  bool big_ = false;
  std::vector<Entry> entries_;
  uint64_t link_ = 0;  // where the position of the next directory stands
};

}  // namespace

bool cut_tiff_tail(const std::filesystem::path& path) try {
  Tiff tiff(path);
  const uint64_t end = tiff.end();
  if (end > std::filesystem::file_size(path)) return false;
  tiff.unlink();
  std::filesystem::resize_file(path, end);
  return true;
} catch (const Damaged&) {
  return false;
} catch (const std::filesystem::filesystem_error&) {
  return false;
}

}  // namespace hornet::internal
