// SPDX-License-Identifier: Apache-2.0
// A row of text ends at a line feed: the server writes those of values as \n. A row of csv ends at a line feed outside
// quotes. Binary rows have the form of DataRow's body. Every message that is sent on holds one row, as the server's
// do: some clients count on it, and on the header of binary standing before the first row in the same message.
#include "agent/mask/copy_masker.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "agent/mask/columns.h"

namespace gatehouse::mask {
namespace {

constexpr char kCopyData = 'd';
constexpr size_t kHeaderBytes = 5;  // tag:u8 length:i32
constexpr std::string_view kSignature{"PGCOPY\n\377\r\n\0", 11};
constexpr size_t kFixedHeaderBytes = kSignature.size() + 8;  // signature flags:i32 extension:i32
constexpr size_t kColumnsMax = 1664;                         // of a tuple, as the server has it
constexpr int32_t kNullSize = -1;
constexpr size_t kMessageBytesMax = (size_t{1} << 30) - 1;

// A byte above 0x7f that begins a character whose next byte may look like an ASCII character.
enum class Embedding : uint8_t { kNone, kPairs, kShiftJis };
Embedding embedding_of(std::string_view encoding) {
  std::string name;
  for (const char c : encoding)
    if (is_alnum(c)) name.push_back(is_lower(c) ? static_cast<char>(c - 32) : c);
  if (name.starts_with("SJIS") || name.starts_with("SHIFTJIS") || name == "MSKANJI" || name == "WIN932" ||
      name == "WINDOWS932")
    return Embedding::kShiftJis;
  static constexpr std::array<std::string_view, 12> kPairs = {"BIG5",       "GBK",        "UHC",        "GB18030",
                                                              "JOHAB",      "WIN950",     "WIN936",     "WIN949",
                                                              "WINDOWS950", "WINDOWS936", "WINDOWS949", "MSKOREAN"};
  return std::ranges::find(kPairs, name) != kPairs.end() ? Embedding::kPairs : Embedding::kNone;
}

constexpr std::string_view kEscapes = "bfnrtv", kMeanings = "\b\f\n\r\t\v";

}  // namespace

CopyOptions CopyOptions::of(CopyFormat format) {
  CopyOptions options;
  options.format = format;
  if (format == CopyFormat::kCsv) {
    options.delimiter = ',';
    options.null.clear();
  }
  return options;
}

struct CopyMasker::Impl {
  Impl(ResultPlan plan, CopyOptions with, std::span<const FieldType> fields, const TypeBook* types)
      : options(std::move(with)),
        embedding(embedding_of(options.encoding)),
        columns(std::move(plan), fields, types),
        header_is_due(options.has_header && options.format != CopyFormat::kBinary) {}

  CopyOptions options;
  Embedding embedding;
  Columns columns;
  std::string held{};      // the beginning of a row
  size_t searched = 0;     // of held: no end of the row in there
  bool in_quotes = false;  // at `searched`
  bool header_is_due;
  bool wants_signature = true, has_ended = false;
  std::string preface{};  // binary's header, until a row comes
  std::string plain{}, masked{};
  CopyOutcome outcome = CopyOutcome::kOk;

  [[nodiscard]] size_t skipped(std::string_view text, size_t at) const {
    if (embedding == Embedding::kNone) return 1;
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool is_lead = byte >= 0x81 && !(embedding == Embedding::kShiftJis && byte >= 0xa0 && byte <= 0xdf);
    return is_lead && at + 1 < text.size() ? 2 : 1;
  }

  // The end of the first row of `text`, behind its line feed; 0: it is not there yet. Begins at `searched`.
  size_t end_of_line(std::string_view text) {
    if (options.format == CopyFormat::kText) {
      const size_t at = text.find('\n', searched);
      searched = at == std::string_view::npos ? text.size() : 0;
      return at == std::string_view::npos ? 0 : at + 1;
    }
    const bool doubles = options.escape == options.quote;
    for (size_t at = searched; at < text.size();) {
      const char c = text[at];
      if (in_quotes && !doubles && c == options.escape) {
        // What is escaped may be in the next message.
        if (at + 1 == text.size()) {
          searched = at;
          return 0;
        }
        at += 2;
        continue;
      }
      if (embedding != Embedding::kNone && static_cast<unsigned char>(c) >= 0x80 && at + 1 == text.size()) {
        searched = at;
        return 0;
      }
      if (c == options.quote) {
        in_quotes = !in_quotes;
      } else if (c == '\n' && !in_quotes) {
        searched = 0;
        return at + 1;
      }
      at += skipped(text, at);
    }
    searched = text.size();
    return 0;
  }

  // The end of the first row (or header, or trailer) of binary; 0: not there yet. npos: malformed.
  size_t end_of_tuple(std::string_view text) {
    if (wants_signature) {
      const size_t known = std::min(text.size(), kSignature.size());
      if (text.substr(0, known) != kSignature.substr(0, known)) return std::string_view::npos;
      if (text.size() < kFixedHeaderBytes) return 0;
      const auto flags = load_be<uint32_t>(text.substr(kSignature.size()));
      const auto extension = load_be<int32_t>(text.substr(kSignature.size() + 4));
      // The upper half are flags that a reader must know; there are none.
      if ((flags & 0xffff0000) != 0 || extension < 0) return std::string_view::npos;
      const size_t size = kFixedHeaderBytes + static_cast<size_t>(extension);
      return text.size() < size ? 0 : size;
    }
    if (has_ended) return std::string_view::npos;
    if (text.size() < 2) return 0;
    const auto count = load_be<int16_t>(text);
    if (count == -1) return 2;
    if (count < 0 || static_cast<size_t>(count) > kColumnsMax) return std::string_view::npos;
    size_t at = 2;
    for (int16_t i = 0; i < count; ++i) {
      if (text.size() - at < 4) return 0;
      const auto size = load_be<int32_t>(text.substr(at));
      at += 4;
      if (size < kNullSize) return std::string_view::npos;
      if (size <= 0) continue;
      if (text.size() - at < static_cast<size_t>(size)) return 0;
      at += static_cast<size_t>(size);
    }
    return at;
  }

  size_t begin_message(std::string& out) const {
    const size_t begin = out.size();
    out.resize(begin + kHeaderBytes);
    out[begin] = kCopyData;
    return begin;
  }
  void end_message(std::string& out, size_t begin) {
    const size_t length = out.size() - begin - 1;
    if (length > kMessageBytesMax) {
      out.resize(begin);
      outcome = CopyOutcome::kTooLong;
      return;
    }
    store_be(out.data() + begin + 1, static_cast<uint32_t>(length));
  }

  void take(std::string_view row, std::string& out) {
    if (options.format == CopyFormat::kBinary) return take_tuple(row, out);
    const size_t begin = begin_message(out);
    if (header_is_due) {
      header_is_due = false;
      out += row;
    } else {
      std::string_view end;
      if (row.ends_with("\r\n")) {
        end = row.substr(row.size() - 2);
      } else if (row.ends_with('\n')) {
        end = row.substr(row.size() - 1);
      }
      mask_line(row.substr(0, row.size() - end.size()), out);
      out += end;
    }
    end_message(out, begin);
  }

  void mask_line(std::string_view line, std::string& out) {
    const bool is_csv = options.format == CopyFormat::kCsv;
    bool changed = false;
    size_t index = 0;
    for (size_t at = 0;; ++at, ++index) {
      if (index == kColumnsMax) {
        outcome = CopyOutcome::kMalformed;
        return;
      }
      const size_t start = at;
      bool is_quoted = false, is_plain = true;
      is_csv ? read_csv(line, at, is_quoted) : read_text(line, at, is_plain);
      const std::string_view raw = line.substr(start, at - start);
      masked.clear();
      Done done;
      if (!is_quoted && raw == options.null) {
        done = columns.mask_null(index, masked, false);
      } else {
        const bool decoded = is_quoted || !is_plain;
        if (decoded) is_csv ? decode_csv(raw) : decode_text(raw);
        done = columns.mask(index, decoded ? std::string_view(plain) : raw, masked, false);
      }
      if (done == Done::kUnchanged) {
        out += raw;
      } else if (done == Done::kNull) {
        out += options.null;
      } else {
        is_csv ? append_csv(masked, is_quoted, out) : append_text(masked, out);
      }
      changed = changed || done != Done::kUnchanged;
      if (at >= line.size()) break;
      out.push_back(options.delimiter);
    }
    ++columns.counts().rows;
    if (changed) ++columns.counts().rows_changed;
  }

  void read_text(std::string_view line, size_t& at, bool& is_plain) const {
    if (embedding == Embedding::kNone) {
      const void* found = std::memchr(line.data() + at, options.delimiter, line.size() - at);
      size_t end = found == nullptr ? line.size() : static_cast<size_t>(static_cast<const char*>(found) - line.data());
      if (std::memchr(line.data() + at, '\\', end - at) == nullptr) {
        at = end;
        return;
      }
    }
    while (at < line.size() && line[at] != options.delimiter) {
      if (line[at] == '\\') {
        is_plain = false;
        at += 2;
      } else {
        at += skipped(line, at);
      }
    }
    at = std::min(at, line.size());
  }
  void decode_text(std::string_view raw) {
    plain.clear();
    for (size_t i = 0; i < raw.size();) {
      if (raw[i] == '\\' && i + 1 < raw.size()) {
        const size_t known = kEscapes.find(raw[i + 1]);
        plain.push_back(known == std::string_view::npos ? raw[i + 1] : kMeanings[known]);
        i += 2;
      } else {
        const size_t count = skipped(raw, i);
        plain += raw.substr(i, count);
        i += count;
      }
    }
  }
  void append_text(std::string_view text, std::string& out) const {
    for (size_t i = 0; i < text.size();) {
      const char c = text[i];
      if (const size_t known = kMeanings.find(c); known != std::string_view::npos) {
        out.push_back('\\');
        out.push_back(kEscapes[known]);
      } else if (c == '\\' || c == options.delimiter) {
        out.push_back('\\');
        out.push_back(c);
      } else {
        const size_t count = skipped(text, i);
        out += text.substr(i, count);
        i += count;
        continue;
      }
      ++i;
    }
  }

  void read_csv(std::string_view line, size_t& at, bool& is_quoted) const {
    bool inside = false;
    while (at < line.size()) {
      const char c = line[at];
      if (inside && options.escape != options.quote && c == options.escape) {
        at += 2;
        continue;
      }
      if (c == options.quote) {
        inside = !inside;
        is_quoted = true;
      } else if (c == options.delimiter && !inside) {
        return;
      }
      at += skipped(line, at);
    }
    at = std::min(at, line.size());
  }
  void decode_csv(std::string_view raw) {
    plain.clear();
    bool inside = false;
    for (size_t i = 0; i < raw.size();) {
      const char c = raw[i];
      if (inside && c == options.escape && i + 1 < raw.size() &&
          (raw[i + 1] == options.quote || raw[i + 1] == options.escape)) {
        plain.push_back(raw[i + 1]);
        i += 2;
      } else if (c == options.quote) {
        inside = !inside;
        ++i;
      } else {
        const size_t count = skipped(raw, i);
        plain += raw.substr(i, count);
        i += count;
      }
    }
  }
  void append_csv(std::string_view text, bool was_quoted, std::string& out) const {
    const bool needs_quotes =
        was_quoted || text == options.null || text == "\\." || std::ranges::any_of(text, [&](char c) {
          return c == options.delimiter || c == options.quote || c == '\n' || c == '\r';
        });
    if (!needs_quotes) {
      out += text;
      return;
    }
    out.push_back(options.quote);
    for (size_t i = 0; i < text.size();) {
      const char c = text[i];
      if (c == options.quote || c == options.escape) out.push_back(options.escape);
      const size_t count = skipped(text, i);
      out += text.substr(i, count);
      i += count;
    }
    out.push_back(options.quote);
  }

  void take_tuple(std::string_view row, std::string& out) {
    if (wants_signature) {
      wants_signature = false;
      preface = row;
      return;
    }
    const size_t begin = begin_message(out);
    out += preface;
    preface.clear();
    const auto count = load_be<int16_t>(row);
    out += row.substr(0, 2);
    has_ended = count == -1;
    bool changed = false;
    for (size_t at = 2, index = 0; at < row.size(); ++index) {
      const auto size = load_be<int32_t>(row.substr(at));
      const std::string_view value = row.substr(at + 4, size > 0 ? static_cast<size_t>(size) : 0);
      at += 4 + value.size();
      const size_t to = out.size();
      out.resize(to + 4);
      const Done done = size == kNullSize ? columns.mask_null(index, out, true) : columns.mask(index, value, out, true);
      changed = changed || done != Done::kUnchanged;
      const bool is_null = done == Done::kNull || (done == Done::kUnchanged && size == kNullSize);
      if (done == Done::kUnchanged) out += value;
      store_be(out.data() + to, is_null ? kNullSize : static_cast<int32_t>(out.size() - to - 4));
    }
    if (!has_ended) ++columns.counts().rows;
    if (changed) ++columns.counts().rows_changed;
    end_message(out, begin);
  }

  // Takes whole rows off the front of `text`; how much that was.
  size_t take_rows(std::string_view text, std::string& out) {
    size_t taken = 0;
    while (taken < text.size() && outcome == CopyOutcome::kOk) {
      const std::string_view rest = text.substr(taken);
      const size_t end = options.format == CopyFormat::kBinary ? end_of_tuple(rest) : end_of_line(rest);
      if (end == std::string_view::npos) {
        outcome = CopyOutcome::kMalformed;
      } else if (end == 0) {
        if (rest.size() > options.row_bytes_max) outcome = CopyOutcome::kTooLong;
        break;
      } else if (end > options.row_bytes_max) {
        outcome = CopyOutcome::kTooLong;
      } else {
        const size_t begin = out.size();
        take(rest.substr(0, end), out);
        if (outcome != CopyOutcome::kOk) out.resize(begin);
        taken += end;
      }
    }
    return taken;
  }
};

CopyMasker::CopyMasker(ResultPlan plan, CopyOptions options, std::span<const FieldType> fields, const TypeBook* types)
    : impl_(std::make_unique<Impl>(std::move(plan), std::move(options), fields, types)) {}
CopyMasker::~CopyMasker() = default;
CopyMasker::CopyMasker(CopyMasker&&) noexcept = default;
CopyMasker& CopyMasker::operator=(CopyMasker&&) noexcept = default;

CopyOutcome CopyMasker::push(std::span<const std::byte> body, std::string& out) {
  Impl& impl = *impl_;
  if (impl.outcome != CopyOutcome::kOk) return impl.outcome;
  if (impl.held.empty()) {
    const std::string_view text = text_of(body);
    const size_t taken = impl.take_rows(text, out);
    if (impl.outcome == CopyOutcome::kOk) impl.held = text.substr(taken);
  } else {
    impl.held += text_of(body);
    const size_t taken = impl.take_rows(impl.held, out);
    impl.held.erase(0, taken);
  }
  if (impl.outcome != CopyOutcome::kOk) impl.held = {};
  return impl.outcome;
}

CopyOutcome CopyMasker::finish(std::string& out) {
  Impl& impl = *impl_;
  if (impl.outcome != CopyOutcome::kOk) return impl.outcome;
  const bool is_binary = impl.options.format == CopyFormat::kBinary;
  if (is_binary && (!impl.held.empty() || !impl.preface.empty())) {
    impl.outcome = CopyOutcome::kMalformed;
  } else if (!impl.held.empty()) {
    // A last row without an end, or quotes that never end: masked as far as it goes.
    impl.take(impl.held, out);
  }
  impl.held = {};
  return impl.outcome;
}

const MaskCounts& CopyMasker::counts() const {
  return impl_->columns.counts();
}
size_t CopyMasker::held_bytes() const {
  return impl_->held.size() + impl_->preface.size();
}

}  // namespace gatehouse::mask
