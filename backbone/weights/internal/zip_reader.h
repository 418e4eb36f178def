// The members of a zip archive, as views into it.
//
// torch.save stores its members uncompressed, so that reading one is a matter of finding it.
// Sizes and positions come from the central directory (with zip64); checksums are not verified,
// because torch.save may be told to leave them out.
#pragma once

#include <hornet/backbone/weights/internal/bytes.h>

#include <map>
#include <string>

namespace hornet::weights::internal {

struct ZipEntry {
  uint16_t flags = 0;
  uint16_t method = 0;
  uint64_t packed = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

class ZipArchive {
 public:
  // Reads the directory. Throws FormatError where it is damaged, split, or names a member twice.
  explicit ZipArchive(Bytes file);

  const std::map<std::string, ZipEntry>& entries() const { return entries_; }

  // The bytes of a member. Throws FormatError where it is absent, compressed or encrypted.
  Bytes at(const std::string& name) const;

 private:
  Bytes file_;
  std::map<std::string, ZipEntry> entries_;
};

}  // namespace hornet::weights::internal
