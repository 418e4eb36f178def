#include <hornet/backbone/weights/internal/pickle.h>

#include <algorithm>
#include <unordered_map>

namespace hornet::weights::internal::pickle {
namespace {

// Large checkpoints with optimizer state have 500,000 opcodes; a hostile file gets no further.
constexpr int64_t kMostOpcodes = int64_t{1} << 22;

enum Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kObj = 'o',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Machine {
 public:
  explicit Machine(Cursor& in) : in_(in) {}

  Document run() {
    for (int64_t count = 0; count < kMostOpcodes; ++count) {
      const auto op = in_.read<uint8_t>();
      if (op == kStop) {
        document_.root = pop();
        return std::move(document_);
      }
      if (!number(op) && !text(op) && !container(op) && !extend(op) && !object(op) && !stack(op)) {
        throw FormatError("its pickle has the opcode " + std::to_string(op) + " at byte " +
                          std::to_string(in_.position() - 1) + ", which torch.save does not write");
      }
    }
    throw FormatError("its pickle has more than " + std::to_string(kMostOpcodes) + " opcodes");
  }

 private:
  bool number(uint8_t op);
  bool text(uint8_t op);
  bool container(uint8_t op);
  bool extend(uint8_t op);
  bool object(uint8_t op);
  bool stack(uint8_t op);

  Value& push(Kind kind) {
    Value& value = document_.values.emplace_back();
    value.kind = kind;
    stack_.push_back(&value);
    return value;
  }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Value* top() const {
    if (stack_.size() <= floor()) throw FormatError("its pickle takes a value from an empty stack");
    return stack_.back();
  }

  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) throw FormatError("its pickle ends a group that it did not begin");
    const auto first = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
    std::vector<const Value*> group(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return group;
  }

  std::vector<const Value*> pop_last(size_t count) {
    std::vector<const Value*> group(count);
    for (size_t i = count; i-- > 0;) group[i] = pop();
    return group;
  }

  Value* target(Kind kind) const {
    Value* value = top();
    if (value->is(kind) || value->is(Kind::kObject)) return value;
    throw FormatError("its pickle adds items to something that has none");
  }

  void append(const std::vector<const Value*>& items, Kind kind) {
    Value* list = target(kind);
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<const Value*>& group) {
    if (group.size() % 2 != 0) throw FormatError("its pickle has a key without a value");
    Value* dict = target(Kind::kDict);
    for (size_t i = 0; i < group.size(); i += 2) {
      dict->entries.emplace_back(group[i], group[i + 1]);
    }
  }

  void call(const Value* callee, const Value* args) {
    Value& result = push(Kind::kObject);
    result.callee = callee;
    result.args = args;
  }

  void push_integer(Bytes little_endian) {
    if (little_endian.size > sizeof(int64_t)) {
      push(Kind::kBigInt).text = little_endian.text();
      return;
    }
    const bool negative =
        little_endian.size > 0 && (little_endian.data[little_endian.size - 1] >> 7) != std::byte{0};
    int64_t value = negative ? -1 : 0;
    if (little_endian.size > 0) std::memcpy(&value, little_endian.data, little_endian.size);
    push(Kind::kInt).integer = value;
  }

  void push_real() {
    auto bits = __builtin_bswap64(in_.read<uint64_t>());  // the format's only big-endian value
    std::memcpy(&push(Kind::kFloat).real, &bits, sizeof(bits));
  }

  void get(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) throw FormatError("its pickle refers to a value that it never made");
    stack_.push_back(found->second);
  }

  Cursor& in_;
  Document document_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Value*> memo_;
};

bool Machine::number(uint8_t op) {
  switch (op) {
    case kNone:
      push(Kind::kNone);
      return true;
    case kNewTrue:
    case kNewFalse:
      push(Kind::kBool).integer = op == kNewTrue;
      return true;
    case kBinInt:
      push(Kind::kInt).integer = in_.read<int32_t>();
      return true;
    case kBinInt1:
      push(Kind::kInt).integer = in_.read<uint8_t>();
      return true;
    case kBinInt2:
      push(Kind::kInt).integer = in_.read<uint16_t>();
      return true;
    case kLong1:
      push_integer(in_.take(in_.read<uint8_t>()));
      return true;
    case kLong4:
      push_integer(in_.take(in_.read<uint32_t>()));
      return true;
    case kBinFloat:
      push_real();
      return true;
    default:
      return false;
  }
}

bool Machine::text(uint8_t op) {
  switch (op) {
    case kShortBinString:
    case kShortBinUnicode:
      push(Kind::kText).text = in_.take(in_.read<uint8_t>()).text();
      return true;
    case kBinString:
    case kBinUnicode:
      push(Kind::kText).text = in_.take(in_.read<uint32_t>()).text();
      return true;
    case kBinUnicode8:
      push(Kind::kText).text = in_.take(in_.read<uint64_t>()).text();
      return true;
    case kShortBinBytes:
      push(Kind::kBytes).text = in_.take(in_.read<uint8_t>()).text();
      return true;
    case kBinBytes:
      push(Kind::kBytes).text = in_.take(in_.read<uint32_t>()).text();
      return true;
    case kBinBytes8:
    case kByteArray8:
      push(Kind::kBytes).text = in_.take(in_.read<uint64_t>()).text();
      return true;
    default:
      return false;
  }
}

bool Machine::container(uint8_t op) {
  std::vector<const Value*> items;
  switch (op) {
    case kEmptyList:
      push(Kind::kList);
      return true;
    case kEmptyDict:
      push(Kind::kDict);
      return true;
    case kEmptySet:
      push(Kind::kSet);
      return true;
    case kEmptyTuple:
      break;
    case kTuple1:
    case kTuple2:
    case kTuple3:
      items = pop_last(op - kTuple1 + 1);
      break;
    case kTuple:
    case kFrozenSet:
      items = pop_to_mark();
      break;
    default:
      return false;
  }
  push(op == kFrozenSet ? Kind::kSet : Kind::kTuple).items = std::move(items);
  return true;
}

bool Machine::extend(uint8_t op) {
  switch (op) {
    case kAppend:
      append(pop_last(1), Kind::kList);
      return true;
    case kAppends:
      append(pop_to_mark(), Kind::kList);
      return true;
    case kAddItems:
      append(pop_to_mark(), Kind::kSet);
      return true;
    case kSetItem:
      set_items(pop_last(2));
      return true;
    case kSetItems:
      set_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

bool Machine::object(uint8_t op) {
  switch (op) {
    case kGlobal: {
      Value& name = push(Kind::kGlobal);
      name.module = in_.line();
      name.text = in_.line();
      return true;
    }
    case kStackGlobal: {
      const auto parts = pop_last(2);
      Value& name = push(Kind::kGlobal);
      name.module = parts[0]->text;
      name.text = parts[1]->text;
      return true;
    }
    case kReduce:
    case kNewObj: {
      const auto parts = pop_last(2);
      call(parts[0], parts[1]);
      return true;
    }
    case kNewObjEx: {
      const auto parts = pop_last(3);
      call(parts[0], parts[1]);
      return true;
    }
    case kObj: {
      auto parts = pop_to_mark();
      if (parts.empty()) throw FormatError("its pickle makes an object of no class");
      call(parts[0], nullptr);
      return true;
    }
    case kBuild: {
      const Value* state = pop();
      top()->state = state;
      return true;
    }
    case kBinPersId: {
      const Value* id = pop();
      push(Kind::kPersistent).items = {id};
      return true;
    }
    default:
      return false;
  }
}

bool Machine::stack(uint8_t op) {
  switch (op) {
    case kMark:
      marks_.push_back(stack_.size());
      return true;
    case kPop:
      pop();
      return true;
    case kPopMark:
      pop_to_mark();
      return true;
    case kDup:
      stack_.push_back(top());
      return true;
    case kBinPut:
      memo_[in_.read<uint8_t>()] = top();
      return true;
    case kLongBinPut:
      memo_[in_.read<uint32_t>()] = top();
      return true;
    case kMemoize:
      memo_[static_cast<uint32_t>(memo_.size())] = top();
      return true;
    case kBinGet:
      get(in_.read<uint8_t>());
      return true;
    case kLongBinGet:
      get(in_.read<uint32_t>());
      return true;
    case kProto:
      if (const auto version = in_.read<uint8_t>(); version < 2 || version > 5) {
        throw FormatError("its pickle has protocol " + std::to_string(version) +
                          "; 2 to 5 are read");
      }
      return true;
    case kFrame:
      in_.take(sizeof(uint64_t));
      return true;
    default:
      return false;
  }
}

}  // namespace

Document read(Cursor& in) { return Machine(in).run(); }

}  // namespace hornet::weights::internal::pickle
