// SPDX-License-Identifier: Apache-2.0
// Oracle: what a decoder returns lies inside the body, and lists end. Byte 0 picks the message. SQL text also goes
// through the lexer: splitting must give ranges in order, inside the text.
#include <cstdlib>
#include <span>
#include <string_view>

#include "agent/protocol/postgres/request_messages.h"
#include "agent/protocol/postgres/response_messages.h"
#include "agent/sql/statements.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::postgres;

std::span<const std::byte> body_;

void inside(std::string_view text) {
  const auto* begin = reinterpret_cast<const char*>(body_.data());
  if (!text.empty() && (text.data() < begin || text.data() + text.size() > begin + body_.size())) std::abort();
}

void parameters(const ParameterList& list) {
  ParameterReader reader{list};
  size_t count = 0;
  while (const auto parameter = reader.next()) {
    inside(parameter->value);
    ++count;
  }
  if (count > list.count || (list.extent == Body::kWhole && count != list.count)) std::abort();
}

void sql_text(std::string_view text, uint8_t choice) {
  const sql::LexicalMode mode{.standard_conforming_strings = (choice & 1) != 0,
                              .charset = static_cast<sql::Charset>(choice >> 1 & 3)};
  std::vector<sql::TextRange> ranges;
  if (sql::split_statements(text, mode, 64, ranges) == sql::SplitOutcome::kOk) {
    size_t at = 0;
    for (const auto& range : ranges) {
      if (range.offset < at || range.size == 0 || range.offset + range.size > text.size()) std::abort();
      at = range.offset + range.size;
    }
    if (ranges.size() > 1 && !sql::may_have_several(text)) std::abort();
  }
  inside(sql::first_verb(text));
  inside(sql::parse_named_command(text, mode).body);
}

void request(uint8_t which, Body extent) {
  switch (which % 8) {
    case 0:
      if (startup_kind(body_) == StartupKind::kStartup)
        if (const auto m = decode_startup(body_)) {
          OptionReader options{m->pairs};
          while (const auto option = options.next()) inside(option->value);
        }
      decode_cancel(body_);
      return;
    case 1:
      if (const auto m = decode_query(body_, extent)) inside(m->sql), sql_text(m->sql, which);
      return;
    case 2:
      if (const auto m = decode_parse(body_, extent)) inside(m->statement), sql_text(m->sql, which);
      return;
    case 3:
      if (const auto m = decode_bind(body_, extent)) inside(m->portal), parameters(m->parameters);
      return;
    case 4:
      if (const auto m = decode_function_call(body_, extent)) parameters(m->arguments);
      return;
    case 5:
      if (const auto m = decode_target(body_)) inside(m->name);
      return;
    case 6:
      if (const auto m = decode_execute(body_)) inside(m->portal);
      return;
    default:
      if (const auto m = decode_copy_fail(body_)) inside(m->message);
  }
}

void response(uint8_t which, Body extent) {
  switch (which % 10) {
    case 0:
      if (const auto m = decode_authentication(body_)) inside(m->mechanism), method_name(*m);
      return;
    case 1:
      if (const auto m = decode_parameter_status(body_)) inside(m->value);
      return;
    case 2:
      decode_backend_key_data(body_);
      return;
    case 3:
      decode_ready_for_query(body_);
      return;
    case 4:
      if (const auto m = decode_command_complete(body_)) inside(m->tag);
      return;
    case 5:
      if (const auto m = decode_error(body_, extent)) inside(m->message), inside(m->sqlstate);
      return;
    case 6:
      if (const auto m = decode_row_description(body_)) {
        ColumnReader columns{m->columns};
        size_t count = 0;
        while (const auto column = columns.next()) inside(column->name), ++count;
        if (count != m->count) std::abort();
      }
      return;
    case 7:
      if (const auto m = decode_parameter_description(body_); m && m->type_oids.size() % 4 != 0) std::abort();
      return;
    case 8:
      if (const auto m = decode_notification(body_)) inside(m->payload);
      return;
    default:
      decode_copy_response(body_);
      decode_negotiate(body_);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // A copy of its own size, so that a read past its end is seen.
  const auto input = std::as_bytes(std::span{data + 1, size - 1});
  const std::vector<std::byte> copy(input.begin(), input.end());
  body_ = copy;
  const Body extent = (data[0] & 0x40) != 0 ? Body::kHead : Body::kWhole;
  (data[0] & 0x80) != 0 ? response(data[0] & 0x3f, extent) : request(data[0] & 0x3f, extent);
  return 0;
}
