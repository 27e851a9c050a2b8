// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's types as masks see them: what stays a value of the type in text and in binary format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gatehouse::mask {

// One column of a result, as RowDescription has it (or the catalog, where nobody asked for a description).
struct FieldType {
  uint32_t oid = 0;  // 0: not known. In text, a value is then told by its looks; in binary, only NULL is safe
  int32_t typmod = -1;
  bool is_binary = false;
  std::string name{};  // context for detectors: "ssn", "date_of_birth"
};

enum class Kind : uint8_t {
  kUnknown,  // of an extension, or not told: NULL is the only value that no decoder rejects
  kLooks,    // oid 0 in text: by the looks of each value
  kText,     // text, varchar, name, citext and whatever else any text is a value of
  kBpchar,   // char(n), padded with blanks
  kOneChar,  // "char"
  kBool,
  kInt2,
  kInt4,
  kInt8,
  kUnsigned4,  // oid, xid, cid
  kUnsigned8,  // xid8
  kLsn,
  kReg,  // regclass and its like: a number in binary, a name in text
  kFloat4,
  kFloat8,
  kNumeric,
  kMoney,
  kBytea,
  kUuid,
  kDate,
  kTime,
  kTimeTz,
  kTimestamp,
  kTimestampTz,
  kInterval,
  kInet,
  kCidr,
  kMacaddr,
  kMacaddr8,
  kJson,
  kJsonb,
  kJsonPath,
  kXml,
  kBit,
  kVarbit,
  kPoint,
  kLine,
  kLseg,
  kBox,
  kPath,
  kPolygon,
  kCircle,
  kTsvector,
  kTsquery,
  kTid,
  kSnapshot,
  kVoid,
  kArray,
  kVector,  // int2vector, oidvector: numbers between blanks in text, an array in binary
  kComposite,
  kRecord,  // composite of no declared type: fields tell their types in binary only
  kRange,
  kMultirange,
  kEnum,
  kDomain,
};

struct TypeRef {
  uint32_t oid = 0;
  int32_t typmod = -1;
};

// A type that is not built in.
struct TypeShape {
  Kind kind = Kind::kUnknown;         // kText, kArray, kComposite, kRange, kMultirange, kEnum or kDomain
  TypeRef of{};                       // kArray: element; kRange: subtype; kMultirange: range; kDomain: base type
  char delimiter = ',';               // kArray
  std::vector<TypeRef> fields{};      // kComposite, those that are not dropped
  std::vector<std::string> labels{};  // kEnum, in order
};

// What the catalog knows of types that are not built in. Called on the thread of the masker that got it.
class TypeBook {
 public:
  virtual ~TypeBook() = default;
  // Valid until the masker is gone; null if not known.
  [[nodiscard]] virtual const TypeShape* find(uint32_t oid) const = 0;
};

// A built-in type.
struct BuiltIn {
  uint32_t oid;
  Kind kind;
  uint32_t of = 0;  // kArray: element; kRange: subtype; kMultirange: range
};
// Null if `oid` is not a built-in type.
const BuiltIn* built_in(uint32_t oid);

}  // namespace gatehouse::mask
