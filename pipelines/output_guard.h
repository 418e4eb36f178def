// An output file that appears under its name when it is complete, or not at all.
//
//   OutputFile file("out.mp4", force);      // fails now, not after an hour of work
//   write_to(file.partial());               // out.partial-4711.mp4, in the same folder
//   file.commit();                          // renames it to out.mp4
//
// The constructor creates the empty partial file, which proves that the folder exists and is
// writable. Its name keeps the extension, for writers that look at it, and has the process's id,
// so that two runs do not meet. A target that exists is refused without `force`, at the start and
// again at the commit, of two that commit at once the second. A file that was not committed is
// removed by the destructor, unless keep() was called; a process that is killed leaves the partial
// file and never touches the target.
//
// Errors: hornet::Error(kOutput) that names the target.
#pragma once

#include <filesystem>
#include <ostream>
#include <string>

namespace hornet {

class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path target, bool force = false);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;

  const std::filesystem::path& target() const { return target_; }
  const std::filesystem::path& partial() const { return partial_; }

  // Moves the partial file to the target's name.
  void commit();

  // Removes the partial file now.
  void discard() noexcept;

  // Leaves the partial file where it is should the commit never come.
  void keep() { keep_ = true; }

  // Throws if a write to `stream`, which is open on the partial file, has failed.
  void check(const std::ostream& stream) const;

  // The error for a write that failed: names the target, the cause, and a full disk if it is one.
  [[noreturn]] void fail(const std::string& cause) const;

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;  // empty once committed or discarded
  bool force_ = false;
  bool keep_ = false;
};

// Gives a finished file in the target's folder the target's name, which, without `force`, nothing
// may have.
void publish(const std::filesystem::path& finished, const std::filesystem::path& target,
             bool force);

// Writes `text` to `file` and commits it.
void write_text(OutputFile file, const std::string& text);

}  // namespace hornet
