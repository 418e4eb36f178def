#include <hornet/backbone/weights/internal/formats.h>
#include <hornet/backbone/weights/internal/zip_reader.h>

#include <algorithm>

namespace hornet::weights::internal {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kZip64End = 0x06064b50;
constexpr uint32_t kZip64Locator = 0x07064b50;
constexpr size_t kEndSize = 22;
constexpr size_t kZip64LocatorSize = 20;
constexpr uint16_t kZip64Extra = 0x0001;
constexpr uint32_t kSee64 = 0xffffffff;  // the value is in the zip64 fields

struct Directory {
  uint64_t count = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

template <typename T>
T peek(Bytes file, uint64_t offset) {
  return Cursor(file, offset).read<T>();
}

// The end record is the last thing in the file, but for a comment of up to 64 KiB.
size_t find_end(Bytes file) {
  if (file.size >= kEndSize) {
    const size_t last = file.size - kEndSize;
    const size_t first = last - std::min<size_t>(last, 0xffff);
    for (size_t at = last + 1; at-- > first;) {
      if (peek<uint32_t>(file, at) == kEnd) return at;
    }
  }
  throw FormatError(
      "the zip archive has no end record; the file is cut short, was its download complete?");
}

// The zip64 end record, where there is one; torch.save always writes it.
bool find_directory64(Bytes file, size_t end, Directory& found) {
  if (end < kZip64LocatorSize) return false;
  Cursor locator(file, end - kZip64LocatorSize);
  if (locator.read<uint32_t>() != kZip64Locator) return false;
  locator.take(4);
  Cursor record(file.sub(0, end), locator.read<uint64_t>());
  if (record.read<uint32_t>() != kZip64End) throw FormatError("its zip64 end record is damaged");
  record.take(8 + 2 + 2 + 4 + 4 + 8);
  found.count = record.read<uint64_t>();
  found.size = record.read<uint64_t>();
  found.offset = record.read<uint64_t>();
  return true;
}

Directory find_directory(Bytes file) {
  const size_t end = find_end(file);
  Directory found;
  if (find_directory64(file, end, found)) return found;
  Cursor record(file, end + 4);
  if (record.read<uint32_t>() != 0) throw FormatError("it is one part of a split zip archive");
  record.take(2);
  found.count = record.read<uint16_t>();
  found.size = record.read<uint32_t>();
  found.offset = record.read<uint32_t>();
  return found;
}

// Replaces those of the entry's values that did not fit 32 bits.
void read_extra(Bytes extra, ZipEntry& entry) {
  Cursor fields(extra);
  while (extra.size - fields.position() >= 4) {
    const auto id = fields.read<uint16_t>();
    Cursor field(fields.take(fields.read<uint16_t>()));
    if (id != kZip64Extra) continue;
    for (uint64_t* value : {&entry.size, &entry.packed, &entry.offset}) {
      if (*value == kSee64) *value = field.read<uint64_t>();
    }
  }
}

std::pair<std::string, ZipEntry> read_entry(Cursor& directory) {
  if (directory.read<uint32_t>() != kCentralHeader) {
    throw FormatError("the directory of the zip archive is damaged");
  }
  ZipEntry entry;
  directory.take(4);
  entry.flags = directory.read<uint16_t>();
  entry.method = directory.read<uint16_t>();
  directory.take(4 + 4);
  entry.packed = directory.read<uint32_t>();
  entry.size = directory.read<uint32_t>();
  const auto name_size = directory.read<uint16_t>();
  const auto extra_size = directory.read<uint16_t>();
  const auto comment_size = directory.read<uint16_t>();
  directory.take(2 + 2 + 4);
  entry.offset = directory.read<uint32_t>();
  std::string name(directory.take(name_size).text());
  read_extra(directory.take(extra_size), entry);
  directory.take(comment_size);
  return {std::move(name), entry};
}

}  // namespace

bool is_zip(Bytes file) { return file.size >= 4 && peek<uint32_t>(file, 0) == kLocalHeader; }

ZipArchive::ZipArchive(Bytes file) : file_(file) {
  const Directory found = find_directory(file);
  Cursor directory(file.sub(found.offset, found.size));
  for (uint64_t i = 0; i < found.count; ++i) {
    const auto [name, entry] = read_entry(directory);
    if (!entries_.emplace(name, entry).second) {
      throw FormatError(in_quotes(name) + " is in the zip archive twice");
    }
  }
}

Bytes ZipArchive::at(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw FormatError("it has no member " + in_quotes(name));
  const ZipEntry& entry = found->second;
  if (entry.flags & 1) throw FormatError(in_quotes(name) + " in it is encrypted");
  if (entry.method != 0 || entry.packed != entry.size) {
    throw FormatError(in_quotes(name) +
                      " in it is compressed, and torch.save does not compress; it was packed "
                      "again: unzip it and `zip -0 -r` the folder, or save it anew");
  }
  Cursor header(file_, entry.offset);
  if (header.read<uint32_t>() != kLocalHeader) {
    throw FormatError("the zip archive's header of " + in_quotes(name) + " is damaged");
  }
  header.take(22);
  // The name and the extra field may differ in length from the directory's.
  const auto name_size = header.read<uint16_t>();
  const auto extra_size = header.read<uint16_t>();
  header.take(uint64_t{name_size} + extra_size);
  return header.take(entry.size);
}

}  // namespace hornet::weights::internal
