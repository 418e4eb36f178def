#include <hornet/backbone/weights/internal/pickle.h>
#include <hornet/backbone/weights/internal/torch_checkpoint.h>

#include "helpers.h"

namespace hornet::weights::internal {
namespace {

using pickle::Kind;

// The document points into the program.
pickle::Document read_text(const std::string& program) {
  Cursor in({reinterpret_cast<const std::byte*>(program.data()), program.size()});
  return pickle::read(in);
}

std::string repeat(const std::string& text, size_t count) {
  std::string out;
  while (count-- > 0) out += text;
  return out;
}

TEST(Pickle, ReadsNumbers) {
  const std::string program = std::string("\x80\x02(K\x07M\x01\x02J\xff\xff\xff\xff", 13) +
                              std::string("\x8a\x00\x8a\x01\x80\x8a\x02\xff\x00\x88\x89N", 12) +
                              std::string("G\x3f\xf8\x00\x00\x00\x00\x00\x00t.", 11);
  const auto document = read_text(program);
  const auto& items = document.root->items;
  ASSERT_EQ(items.size(), 10u);
  const std::vector<int64_t> expected = {7, 0x201, -1, 0, -128, 255, 1, 0};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(items[i]->integer, expected[i]);
  EXPECT_TRUE(items[8]->is(Kind::kNone));
  EXPECT_EQ(items[9]->real, 1.5);
}

TEST(Pickle, ReadsContainersAndSharesValues) {
  const std::string program =
      "\x80\x02}(U\x01"
      "aq\x05]q\x06(h\x05h\x05"
      "eU\x01"
      "bh\x06u.";
  const auto document = read_text(program);
  const auto& entries = document.root->entries;
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].first->text, "a");
  EXPECT_EQ(entries[0].second, entries[1].second);
  EXPECT_EQ(entries[0].second->items.size(), 2u);
}

TEST(Pickle, DescribesCallsWithoutMakingThem) {
  const std::string program =
      "\x80\x02"
      "cos\nsystem\nU\x04"
      "ls -\x85R}b.";
  const auto document = read_text(program);
  const pickle::Value& object = *document.root;
  EXPECT_TRUE(object.is(Kind::kObject));
  EXPECT_TRUE(object.callee->is_global("os", "system"));
  EXPECT_EQ(object.args->items.at(0)->text, "ls -");
  EXPECT_TRUE(object.state->is(Kind::kDict));
}

TEST(Pickle, BearsCyclesAndDeepNesting) {
  EXPECT_EQ(read_text("\x80\x02]q\x01h\x01"
                      "a.")
                .root->items.size(),
            1u);
  const size_t deep = 1'000'000;
  EXPECT_EQ(read_text("\x80\x02)" + repeat("\x85", deep) + ".").values.size(), deep + 1);
  EXPECT_EQ(read_text("\x80\x02" + repeat("]", deep) + repeat("a", deep - 1) + ".").values.size(),
            deep);
}

// Each level refers to the one before twice: 2^1000 leaves, and a few kilobytes.
TEST(Pickle, DoesNotMultiplySharedValues) {
  const auto document = read_text("\x80\x02)" + repeat("2\x86", 1000) + ".");
  EXPECT_EQ(document.values.size(), 1001u);
}

TEST(Pickle, RefusesMalformedPrograms) {
  const std::vector<std::string> programs = {
      "",
      "\x80\x02",
      "\x80\x02.",        // nothing to return
      "\x80\x02(.",       // a mark is no value
      "\x80\x02N(0N.",    // takes a value from below the mark
      "\x80\x02t.",       // a group that was not begun
      "\x80\x02Nh\x01.",  // no such memo
      "\x80\x02}U\x01"
      "au.",  // no mark for items
      "\x80\x02}(U\x01"
      "au.",             // a key without a value
      "\x80\x02N(NNe.",  // items for None
      "\x80\x02X\xff\xff\xff\xff"
      "ab.",                            // a text that is longer than the file
      "\x80\x02\x8b\xff\xff\xff\x7f.",  // so is a number
      "\x80\x02"
      "cos\nsystem",    // a line without an end
      "\x80\x06N.",     // a protocol to come
      "\x80\x02I1\n.",  // protocol 0
  };
  for (const std::string& program : programs) EXPECT_THROW(read_text(program), FormatError);
}

TEST(Pickle, LimitsTheTextsThatMetadataCopies) {
  const std::string name(size_t{1} << 20, 'x');
  const std::string shared = "X" + bytes_of<uint32_t>(static_cast<uint32_t>(name.size())) + name;
  const auto classes = [&shared](size_t count) {
    const std::string program =
        "\x80\x02}U\x04meta}U\x07"
        "CLASSES(" +
        shared + "q\x01" + repeat("h\x01", count - 1) + "tss.";
    return interpret_metadata(*read_text(program).root).classes;
  };
  EXPECT_EQ(classes(4).size(), 4u);
  EXPECT_TRUE(classes(1000).empty());
}

TEST(Pickle, LimitsTheNumberOfOpcodes) {
  EXPECT_NO_THROW(read_text("\x80\x02N" + repeat("20", 1000) + "."));
  EXPECT_THROW(read_text("\x80\x02N" + repeat("20", size_t{1} << 21) + "."), FormatError);
}

}  // namespace
}  // namespace hornet::weights::internal
