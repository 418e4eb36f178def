#include <fcntl.h>
#include <hornet/backbone/error.h>
#include <hornet/pipelines/output_guard.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

namespace hornet {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kFullDisk = 1 << 20;  // less free space than this is no free space

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

void check_target(const fs::path& target, bool force) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(target, ignored))) return;
  const fs::file_status status = fs::status(target, ignored);  // none behind a dangling link
  const std::string name = target.string();
  if (fs::is_directory(status)) {
    throw Error(ErrorCode::kOutput, name + ": is a folder; name a file in it");
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(ErrorCode::kOutput, name + ": is not a regular file; name another output");
  }
  if (!force) {
    throw Error(ErrorCode::kOutput, name + ": exists; pass --force to overwrite it");
  }
}

void check_folder(const fs::path& target) {
  std::error_code ignored;
  const fs::path folder = folder_of(target);
  if (!target.has_filename()) {
    throw Error(ErrorCode::kOutput, "'" + target.string() + "': is not the name of a file");
  }
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorCode::kOutput, target.string() + ": there is no folder '" + folder.string() +
                                        "'; create it or name another output");
  }
}

// Creates a file beside the target that was not there before, and returns its name.
fs::path create_partial(const fs::path& target) {
  const std::string stem = target.stem().string() + ".partial-" + std::to_string(getpid());
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::string suffix = attempt == 0 ? "" : "-" + std::to_string(attempt);
    fs::path partial = folder_of(target) / (stem + suffix + target.extension().string());
    const int file = open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) {
      close(file);
      return partial;
    }
    if (errno != EEXIST) break;
  }
  throw Error(ErrorCode::kOutput, target.string() + ": cannot write into the folder '" +
                                      folder_of(target).string() + "': " + std::strerror(errno));
}

// Unless something has that name. A second name is given in one step by all file systems that know
// of such; by the others (FAT) it is looked for and then taken.
std::error_code rename_to_free_name(const fs::path& from, const fs::path& to) {
  std::error_code error, ignored;
  fs::create_hard_link(from, to, error);
  if (!error) {
    fs::remove(from, ignored);  // the other name is what counts
  } else if (error != std::errc::file_exists) {
    if (fs::exists(fs::symlink_status(to, ignored))) {
      return std::make_error_code(std::errc::file_exists);
    }
    fs::rename(from, to, error);
  }
  return error;
}

[[noreturn]] void fail_to_write(const fs::path& target, const std::string& cause) {
  std::error_code error;
  const fs::space_info space = fs::space(folder_of(target), error);
  const bool full = !error && space.available < kFullDisk;
  throw Error(ErrorCode::kOutput, target.string() + ": cannot be written: " + cause +
                                      (full ? " (the disk is full: free some space)" : ""));
}

}  // namespace

void publish(const fs::path& finished, const fs::path& target, bool force) {
  check_target(target, force);
  std::error_code error;
  if (force) {
    fs::rename(finished, target, error);
  } else {
    error = rename_to_free_name(finished, target);
    if (error == std::errc::file_exists) check_target(target, force);
  }
  if (error) fail_to_write(target, error.message());
}

OutputFile::OutputFile(fs::path target, bool force) : target_(std::move(target)), force_(force) {
  check_folder(target_);
  check_target(target_, force_);
  partial_ = create_partial(target_);
}

OutputFile::~OutputFile() {
  if (!keep_) discard();
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : target_(std::move(other.target_)),
      partial_(std::exchange(other.partial_, {})),
      force_(other.force_),
      keep_(other.keep_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(target_, other.target_);
  std::swap(partial_, other.partial_);
  std::swap(force_, other.force_);
  std::swap(keep_, other.keep_);
  return *this;
}

void OutputFile::commit() {
  publish(partial_, target_, force_);
  partial_.clear();
}

void OutputFile::discard() noexcept {
  if (partial_.empty()) return;
  std::error_code ignored;
  fs::remove(partial_, ignored);
  partial_.clear();
}

void OutputFile::check(const std::ostream& stream) const {
  if (!stream) fail(errno != 0 ? std::strerror(errno) : "the stream has failed");
}

void OutputFile::fail(const std::string& cause) const { fail_to_write(target_, cause); }

void write_text(OutputFile file, const std::string& text) {
  std::ofstream stream(file.partial(), std::ios::binary);
  stream << text;
  stream.close();
  file.check(stream);
  file.commit();
}

}  // namespace hornet
