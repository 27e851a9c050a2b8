// SPDX-License-Identifier: Apache-2.0
// The oracle is the processor's manual, by way of an assembler: the bytes are as GNU as writes them.
#include "agent/tls_learn/instructions.h"

#include <gtest/gtest.h>

#include <string>

namespace gatehouse::tls_learn {
namespace {

struct Case {
  const char* text;
  std::vector<uint8_t> code;
  bool is_emulated;
};

const Case kCases[] = {
    {"push %r15", {0x41, 0x57}, true},
    {"push %rbx", {0x53}, true},
    {"push %rbx, operand size", {0x66, 0x53}, false},
    {"nop", {0x90}, true},
    {"nopl 0(%rax,%rax,1)", {0x0f, 0x1f, 0x44, 0x00, 0x00}, true},
    {"endbr64", {0xf3, 0x0f, 0x1e, 0xfa}, false},
    {"sub $0x38,%rsp", {0x48, 0x83, 0xec, 0x38}, false},
    {"sub $0x138,%rsp", {0x48, 0x81, 0xec, 0x38, 0x01, 0x00, 0x00}, false},
    {"mov 0x9a8(%rsi),%rax", {0x48, 0x8b, 0x86, 0xa8, 0x09, 0x00, 0x00}, false},
    {"mov %rcx,0x8(%rsp)", {0x48, 0x89, 0x4c, 0x24, 0x08}, false},
    {"cmpq $0,0x3d0(%rax)", {0x48, 0x83, 0xb8, 0xd0, 0x03, 0x00, 0x00, 0x00}, false},
    {"movabs $1,%rax", {0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0}, false},
    {"mov $1,%eax", {0xb8, 1, 0, 0, 0}, false},
    {"mov $1,%ax", {0x66, 0xb8, 1, 0}, false},
    {"test $1,%dil", {0x40, 0xf6, 0xc7, 0x01}, false},
    {"not %al", {0xf6, 0xd0}, false},
    {"lea 0x10(%rip),%rsi", {0x48, 0x8d, 0x35, 0x10, 0, 0, 0}, false},
    {"mov 0x10(,%rax,8),%rax", {0x48, 0x8b, 0x04, 0xc5, 0x10, 0, 0, 0}, false},
    {"mov %fs:0x28,%rax", {0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}, false},
    {"movups %xmm0,(%rax)", {0x0f, 0x11, 0x00}, false},
    {"je near", {0x0f, 0x84, 0x4b, 0x01, 0, 0}, true},
    {"je short", {0x74, 0x10}, true},
    {"call", {0xe8, 1, 2, 3, 4}, true},
    {"jmp near", {0xe9, 1, 2, 3, 4}, true},
    {"ret", {0xc3}, false},
};

TEST(Instructions, HaveTheirLengths) {
  for (const Case& c : kCases) {
    std::vector<uint8_t> code = c.code;
    code.insert(code.end(), 16, 0xcc);
    const Instruction one = decode(code);
    EXPECT_EQ(one.bytes, c.code.size()) << c.text;
    EXPECT_EQ(one.is_emulated, c.is_emulated) << c.text;
    // Cut short, it is none.
    for (size_t bytes = 0; bytes < c.code.size(); ++bytes)
      EXPECT_LE(decode(std::span(c.code).first(bytes)).bytes, bytes) << c.text;
  }
}

TEST(Instructions, PlacesAreWhereTheKernelEmulates) {
  // endbr64; push %rbp; mov %rsp,%rbp; push %r12; je …; push %rbx
  const std::vector<uint8_t> code{0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x41, 0x54, 0x74, 0x10, 0x53};
  EXPECT_EQ(probe_places(code), (std::vector<size_t>{4, 8, 10, 0}));
  EXPECT_EQ(probe_places(std::vector<uint8_t>{0x48, 0x83, 0xec, 0x38, 0xc3}), std::vector<size_t>{0});
}

}  // namespace
}  // namespace gatehouse::tls_learn
