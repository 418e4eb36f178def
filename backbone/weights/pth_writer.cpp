// torch.save's zip layout: a pickle that describes the tensors, and one member per storage.
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/internal/dtypes.h>
#include <hornet/backbone/weights/internal/output.h>

#include <array>

namespace hornet::weights {
namespace internal {
namespace {

constexpr uint64_t kMemberAlignment = 64;  // of each member, as torch.save has it
constexpr uint64_t kLargest = 0xffffffff;  // beyond these, a zip archive needs zip64
constexpr size_t kMostMembers = 0xffff;

uint32_t crc32(Bytes bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> rows{};
    for (uint32_t i = 0; i < 256; ++i) {
      rows[i] = i;
      for (int bit = 0; bit < 8; ++bit) {
        rows[i] = (rows[i] >> 1) ^ ((rows[i] & 1) ? 0xedb88320u : 0);
      }
    }
    return rows;
  }();
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes.size; ++i) {
    crc = (crc >> 8) ^ table[(crc ^ static_cast<uint8_t>(bytes.data[i])) & 0xff];
  }
  return ~crc;
}

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : path_(path), file_(path) {}

  void add(const std::string& name, std::string_view text) {
    add(name, Bytes{reinterpret_cast<const std::byte*>(text.data()), text.size()});
  }

  void add(const std::string& name, Bytes bytes) {
    const uint64_t unaligned = position_ + kLocalSize + name.size() + kExtraSize;
    const uint64_t padding = (kMemberAlignment - unaligned % kMemberAlignment) % kMemberAlignment;
    if (unaligned + padding + bytes.size > kLargest || ++count_ > kMostMembers) {
      throw Error(ErrorCode::kOutput, path_.string() +
                                          " cannot be written: a .pth of more than 4 GiB or "
                                          "65,532 tensors; write .safetensors instead");
    }
    const std::string common = describe(name, bytes, static_cast<uint16_t>(kExtraSize + padding));
    append_directory(name, common);

    std::string header = "PK\x03\x04" + common + name + "FB";
    append(header, static_cast<uint16_t>(padding));
    header.append(padding, 'Z');
    file_.write(header.data(), header.size());
    file_.write(bytes.data, bytes.size);
    position_ += header.size() + bytes.size;
  }

  void finish() {
    std::string end = directory_ + "PK\x05\x06";
    append(end, uint32_t{0});  // this disk, and the directory's
    append(end, static_cast<uint16_t>(count_));
    append(end, static_cast<uint16_t>(count_));
    append(end, static_cast<uint32_t>(directory_.size()));
    append(end, static_cast<uint32_t>(position_));
    append(end, uint16_t{0});  // no comment
    file_.write(end.data(), end.size());
    file_.commit();
  }

 private:
  static constexpr size_t kLocalSize = 30;
  static constexpr size_t kExtraSize = 4;  // and the padding, in an extra field

  // The fields that the local header and the directory share.
  static std::string describe(const std::string& name, Bytes bytes, uint16_t extra) {
    std::string fields;
    append(fields, uint16_t{20});      // needs zip 2.0
    append(fields, uint16_t{0});       // no flags
    append(fields, uint16_t{0});       // stored
    append(fields, uint16_t{0});       // midnight,
    append(fields, uint16_t{0x0021});  // 1 January 1980
    append(fields, crc32(bytes));
    append(fields, static_cast<uint32_t>(bytes.size));
    append(fields, static_cast<uint32_t>(bytes.size));
    append(fields, static_cast<uint16_t>(name.size()));
    append(fields, extra);
    return fields;
  }

  void append_directory(const std::string& name, const std::string& common) {
    directory_ += "PK\x01\x02";
    append(directory_, uint16_t{20});  // made by zip 2.0
    directory_.append(common, 0, common.size() - 2);
    append(directory_, uint16_t{0});  // no extra field here,
    append(directory_, uint16_t{0});  // no comment,
    append(directory_, uint16_t{0});  // first disk,
    append(directory_, uint16_t{0});  // no attributes
    append(directory_, uint32_t{0});
    append(directory_, static_cast<uint32_t>(position_));
    directory_ += name;
  }

  std::filesystem::path path_;
  OutputFile file_;
  std::string directory_;
  uint64_t position_ = 0;
  size_t count_ = 0;
};

// Protocol 2, in the subset that torch.load(weights_only=True) accepts.
class PickleWriter {
 public:
  void op(char code) { out_ += code; }

  void text(const std::string& value) {
    op('X');
    append(out_, static_cast<uint32_t>(value.size()));
    out_ += value;
  }

  void integer(int64_t value) {
    if (value >= 0 && value <= INT32_MAX) {
      op('J');
      append(out_, static_cast<int32_t>(value));
    } else {
      out_ += "\x8a\x08";  // LONG1 of 8 bytes
      append(out_, value);
    }
  }

  void global(const std::string& module, const std::string& name) {
    out_ += "c" + module + "\n" + name + "\n";
  }

  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    out_ += ")R";
  }

  void integers(const std::vector<int64_t>& values) {
    op('(');
    for (const int64_t value : values) integer(value);
    op('t');
  }

  const std::string& bytes() const { return out_; }

 private:
  std::string out_ = "\x80\x02";
};

void pickle_tensor(PickleWriter& out, const Tensor& tensor, size_t key) {
  out.global("torch._utils", "_rebuild_tensor_v2");
  out.op('(');

  out.op('(');
  out.text("storage");
  out.global("torch", dtype_row(tensor.dtype).torch_storage);
  out.text(std::to_string(key));
  out.text("cpu");
  out.integer(tensor.numel());
  out.op('t');
  out.op('Q');

  out.integer(0);
  out.integers(tensor.shape);
  out.integers(contiguous_strides(tensor.shape));
  out.op('\x89');  // requires no gradient
  out.empty_ordered_dict();
  out.op('t');
  out.op('R');
}

void pickle_metadata(PickleWriter& out, const Metadata& meta) {
  out.op('}');
  out.op('(');
  for (const auto& [key, text] : meta.entries) {
    out.text(key);
    out.text(text);
  }
  if (!meta.classes.empty()) {
    out.text("CLASSES");
    out.op('(');
    for (const std::string& name : meta.classes) out.text(name);
    out.op('t');
  }
  if (!meta.palette.empty()) {
    out.text("PALETTE");
    out.op('(');
    for (const auto& colour : meta.palette) out.integers({colour[0], colour[1], colour[2]});
    out.op('t');
  }
  out.op('u');
}

std::string pickle_checkpoint(const std::map<std::string, Tensor>& tensors, const Metadata& meta) {
  PickleWriter out;
  out.op('}');
  out.op('(');
  out.text("state_dict");
  out.empty_ordered_dict();
  out.op('(');
  size_t key = 0;
  for (const auto& [name, tensor] : tensors) {
    out.text(name);
    pickle_tensor(out, tensor, key++);
  }
  out.op('u');
  out.text("meta");
  pickle_metadata(out, meta);
  out.op('u');
  out.op('.');
  return out.bytes();
}

}  // namespace
}  // namespace internal

void write_pth(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
               const Metadata& meta) {
  internal::require_utf8(path, tensors, meta);
  internal::ZipWriter zip(path);
  zip.add("archive/data.pkl", internal::pickle_checkpoint(tensors, meta));
  zip.add("archive/byteorder", "little");
  size_t key = 0;
  for (const auto& named : tensors) {
    std::string buffer;
    zip.add("archive/data/" + std::to_string(key++),
            internal::contiguous_bytes(named.second, buffer));
  }
  zip.add("archive/version", "3\n");
  zip.finish();
}

}  // namespace hornet::weights
