// A pickle read as data: the values that the program describes, with nothing of it carried out.
//
// Containers become containers. A call (REDUCE, NEWOBJ, OBJ) becomes an object that remembers
// what would have been called, with which arguments, and what would have been put into it; who
// knows the class may interpret it, everyone else passes it by. Names of modules, classes and
// functions are mere text here.
//
// Values live in their Document and point at each other freely: shared, cyclic and deeply nested
// ones need no care and are destroyed without recursion. Texts are views into the file. Every
// opcode makes at most one value and copies none, so that memory is linear in the bytes read.
#pragma once

#include <hornet/backbone/weights/internal/bytes.h>

#include <deque>
#include <string_view>
#include <utility>
#include <vector>

namespace hornet::weights::internal::pickle {

enum class Kind {
  kNone,
  kBool,
  kInt,
  kBigInt,  // more than 64 bits: its little-endian bytes are the text
  kFloat,
  kText,
  kBytes,
  kList,
  kTuple,
  kSet,
  kDict,
  kGlobal,     // a name: module, and text
  kObject,     // the result of a call, had it been made
  kPersistent  // something outside the pickle; items[0] says what
};

struct Value {
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string_view text;
  std::string_view module;
  std::vector<const Value*> items;  // of a list, tuple or set; appended to an object
  std::vector<std::pair<const Value*, const Value*>> entries;  // of a dict; set on an object
  const Value* callee = nullptr;                               // objects only, like the next two
  const Value* args = nullptr;
  const Value* state = nullptr;

  bool is(Kind k) const { return kind == k; }
  bool is_global(std::string_view in_module, std::string_view name) const {
    return kind == Kind::kGlobal && module == in_module && text == name;
  }
};

struct Document {
  std::deque<Value> values;
  const Value* root = nullptr;
};

// Reads one pickle of protocol 2 to 5, and leaves `in` behind its last byte.
Document read(Cursor& in);

}  // namespace hornet::weights::internal::pickle
