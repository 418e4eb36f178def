// What a killed process leaves behind a TIFF's last complete state.
#pragma once

#include <filesystem>

namespace hornet::internal {

// Takes a file back to what its first directory refers to: bytes behind that, such as blocks whose
// offsets were never written, are cut off, and so are further directories (overviews). For files as
// RasterWriter makes them: little-endian, the directory first, then the blocks. Returns false and
// leaves the file alone if it is not such a one.
bool cut_tiff_tail(const std::filesystem::path& path);

}  // namespace hornet::internal
