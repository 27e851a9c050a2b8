// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/tls/elf_file.h"

#include <elf.h>
#include <unistd.h>

#include <cstring>

namespace gatehouse::capture {
namespace {

// A runtime that carries everything has some 100,000 symbols, whose names take megabytes.
constexpr uint64_t kTableBytesMax = 64ULL << 20;
constexpr size_t kHeadersMax = 4096;

Error malformed(std::string_view what) {
  return Error("not a library that can be read: " + std::string(what));
}

Status read_at(int fd, uint64_t offset, void* to, size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = pread(fd, at, bytes, static_cast<off_t>(offset));
    if (got <= 0) return malformed("it ends early");
    at += got;
    bytes -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

template <typename Header>
Result<std::vector<Header>> read_headers(int fd, uint64_t offset, size_t count, size_t size) {
  if (count > kHeadersMax || (count > 0 && size != sizeof(Header))) return malformed("its headers");
  std::vector<Header> headers(count);
  GH_TRY(read_at(fd, offset, headers.data(), count * sizeof(Header)));
  return headers;
}

Result<std::vector<char>> read_table(int fd, const Elf64_Shdr& section) {
  if (section.sh_size > kTableBytesMax) return malformed("a table is too long");
  std::vector<char> table(section.sh_size);
  GH_TRY(read_at(fd, section.sh_offset, table.data(), table.size()));
  return table;
}

}  // namespace

Result<ElfFile> ElfFile::read(int fd) {
  Elf64_Ehdr header{};
  GH_TRY(read_at(fd, 0, &header, sizeof(header)));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_machine != EM_X86_64)
    return malformed("it is for another machine");
  ElfFile file;
  GH_ASSIGN(const auto segments, read_headers<Elf64_Phdr>(fd, header.e_phoff, header.e_phnum, header.e_phentsize));
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_INTERP) file.has_interpreter_ = true;
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0)
      file.code_.push_back({.begin = segment.p_offset, .end = segment.p_offset + segment.p_filesz});
  }
  GH_ASSIGN(const auto sections, read_headers<Elf64_Shdr>(fd, header.e_shoff, header.e_shnum, header.e_shentsize));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size()) continue;
    GH_ASSIGN(file.symbols_, read_table(fd, section));
    GH_ASSIGN(file.names_, read_table(fd, sections[section.sh_link]));
    break;
  }
  return file;
}

bool ElfFile::defines(std::string_view symbol) const {
  for (size_t at = 0; at + sizeof(Elf64_Sym) <= symbols_.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym one{};
    std::memcpy(&one, symbols_.data() + at, sizeof(one));
    if (one.st_shndx == SHN_UNDEF || one.st_name >= names_.size() || names_.size() - one.st_name <= symbol.size())
      continue;
    const char* const name = names_.data() + one.st_name;
    if (std::memcmp(name, symbol.data(), symbol.size()) == 0 && name[symbol.size()] == '\0') return true;
  }
  return false;
}

bool ElfFile::is_code(uint64_t offset) const {
  for (const Range& range : code_)
    if (offset >= range.begin && offset < range.end) return true;
  return false;
}

}  // namespace gatehouse::capture
