// The two layouts that torch.save has had since 0.1.12: where the pickle and the storages lie.
#include <hornet/backbone/weights/internal/formats.h>
#include <hornet/backbone/weights/internal/torch_checkpoint.h>
#include <hornet/backbone/weights/internal/zip_reader.h>

namespace hornet::weights::internal {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr char kMagic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // a 10 byte integer
constexpr int64_t kLegacyProtocol = 1001;

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

// The members share a folder whose name is of no importance: the one that holds data.pkl.
std::string find_folder(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "/data.pkl";
  for (const auto& [name, entry] : archive.entries()) {
    if (!ends_with(name, kPickle)) continue;
    std::string folder = name.substr(0, name.size() - kPickle.size() + 1);
    if (folder.find('/') == folder.size() - 1) return folder;
  }
  throw FormatError("it is a zip archive without data.pkl, not one of torch.save");
}

void check_archive(const ZipArchive& archive, const std::string& folder) {
  if (archive.entries().count(folder + "constants.pkl")) {
    throw FormatError("it is a TorchScript archive; save the model's state_dict() instead");
  }
  if (!archive.entries().count(folder + "byteorder")) return;
  const auto order = archive.at(folder + "byteorder").text();
  if (order != "little") {
    throw FormatError("its byte order is " + in_quotes(order) +
                      "; save it anew on a little-endian machine");
  }
}

Storages read_zip_storages(const ZipArchive& archive, const std::string& folder) {
  Storages storages;
  const auto& entries = archive.entries();
  for (auto it = entries.lower_bound(folder); it != entries.end(); ++it) {
    if (it->first.compare(0, folder.size(), folder) != 0) break;
    const auto key = std::string_view(it->first).substr(folder.size());
    storages.emplace(key, archive.at(it->first));
  }
  return storages;
}

int64_t legacy_integer(Cursor& in) {
  const auto document = pickle::read(in);
  return document.root->is(Kind::kInt) ? document.root->integer : -1;
}

void check_legacy_head(Cursor& in) {
  const auto magic = pickle::read(in);
  if (!magic.root->is(Kind::kBigInt) ||
      magic.root->text != std::string_view(kMagic, sizeof(kMagic) - 1)) {
    throw FormatError("it is a pickle, but not one of torch.save; save a state_dict() with it");
  }
  if (const int64_t protocol = legacy_integer(in); protocol != kLegacyProtocol) {
    throw FormatError("its torch.save protocol is " + std::to_string(protocol) + "; " +
                      std::to_string(kLegacyProtocol) + " is read");
  }
  const auto system = pickle::read(in);
  const Value* little = dict_find(*system.root, "little_endian");
  if (little && little->is(Kind::kBool) && !little->integer) {
    throw FormatError("its byte order is big; save it anew on a little-endian machine");
  }
}

std::map<std::string_view, int64_t> element_sizes(const pickle::Document& document) {
  std::map<std::string_view, int64_t> sizes;
  for (const Value& value : document.values) {
    if (!value.is(Kind::kPersistent)) continue;
    if (const auto ref = storage_ref(value)) sizes.emplace(ref->key, ref->element_size);
  }
  return sizes;
}

// After the pickle: a list of keys, then for each its number of elements and the elements.
Storages read_legacy_storages(Cursor& in, const pickle::Document& document) {
  const auto sizes = element_sizes(document);
  const auto keys = pickle::read(in);
  Storages storages;
  for (const Value* key : keys.root->items) {
    const auto size = sizes.find(key->text);
    if (size == sizes.end() || size->second == 0) {
      throw FormatError("its storage " + in_quotes(key->text) + " is of an unknown type");
    }
    const int64_t bytes = checked_multiply(in.read<int64_t>(), size->second);
    if (bytes < 0)
      throw FormatError("its storage " + in_quotes(key->text) + " has a negative size");
    storages[key->text] = in.take(static_cast<uint64_t>(bytes));
  }
  return storages;
}

}  // namespace

bool is_pickle(Bytes file) { return file.size >= 2 && file.data[0] == std::byte{0x80}; }

File read_torch_zip(Bytes bytes) {
  const ZipArchive archive(bytes);
  const std::string folder = find_folder(archive);
  check_archive(archive, folder);
  Cursor in(archive.at(folder + "data.pkl"));
  const auto document = pickle::read(in);
  const Storages storages = read_zip_storages(archive, folder + "data/");
  File file = interpret_checkpoint(*document.root, storages, bytes.size);
  file.format = "torch zip";
  return file;
}

File read_torch_legacy(Bytes bytes) {
  Cursor in(bytes);
  check_legacy_head(in);
  const auto document = pickle::read(in);
  const Storages storages = read_legacy_storages(in, document);
  File file = interpret_checkpoint(*document.root, storages, bytes.size);
  file.format = "torch legacy";
  return file;
}

}  // namespace hornet::weights::internal
