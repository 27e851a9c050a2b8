// SPDX-License-Identifier: Apache-2.0
#include "cli/verify.h"

#include <vector>

#include "cli/human.h"
#include "cli/safe_text.h"
#include "common/digest.h"
#include "rules/engine/time_text.h"

namespace gatehouse::cli {
namespace {

std::string counted(uint64_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

std::string sources_table(const ledger::FolderCheck& check, const TableStyle& style) {
  std::vector<TableColumn> columns{{.title = "agent", .takes_rest = true}, {.title = "boot", .max_width = 32},
                                   {.title = "batches", .right = true},    {.title = "events", .right = true},
                                   {.title = "missing", .right = true},    {.title = "unchained", .right = true}};
  std::vector<std::vector<Cell>> rows;
  const auto bad_number = [](uint64_t number) {
    return Cell{std::to_string(number), number == 0 ? Tone::kPlain : Tone::kBad};
  };
  for (const ledger::SourceCheck& source : check.sources)
    rows.push_back({{safe(source.agent_id)},
                    {safe(source.boot_id)},
                    {std::to_string(source.batches)},
                    {std::to_string(source.events)},
                    bad_number(source.missing),
                    bad_number(source.unchained)});
  return render_table(std::move(columns), style, rows);
}

void append_member(std::string& out, std::string_view name, uint64_t value) {
  if (!out.ends_with('{')) out += ',';
  append_json_string(out, name);
  out += ':' + std::to_string(value);
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  if (!out.ends_with('{')) out += ',';
  append_json_string(out, name);
  out += ':';
  append_json_string(out, value);
}

}  // namespace

std::string render_check(const ledger::FolderCheck& check, const TableStyle& style) {
  std::string text = "segments    " + std::to_string(check.segments) + (check.is_open ? ", the last one open" : "") +
                     "; " + counted(check.records, "record") + ", " + counted(check.events, "event") + ", " +
                     counted(check.bytes, "byte") + "\n";
  if (check.removed_segments > 0)
    text += "removed     " + counted(check.removed_segments, "segment") + " by retention, of " +
            local_timestamp(check.removed_first_ns) + " to " + local_timestamp(check.removed_last_ns) + "; " +
            counted(check.removed_records, "record") + ", " + counted(check.removed_events, "event") + "\n";
  if (check.tail_bytes > 0)
    text += "unfinished  " + counted(check.tail_bytes, "byte") + " behind the last record, never acknowledged\n";
  text += "chain head  " + to_hex(check.chain_head) + "\n\n";
  if (!check.sources.empty()) text += sources_table(check, style) + "\n";
  for (const std::string& problem : check.problems)
    text += toned("wrong       ", Tone::kBad, style.colour) + safe(problem) + "\n";
  text += check.is_whole() ? toned("whole", Tone::kGood, style.colour) + ": every hash holds, and no event is missing"
                           : toned("not whole", Tone::kBad, style.colour);
  return text + "\n";
}

std::string to_json(const ledger::FolderCheck& check) {
  std::string out = "{\"whole\":" + std::string(check.is_whole() ? "true" : "false");
  append_member(out, "segments", check.segments);
  append_member(out, "records", check.records);
  append_member(out, "events", check.events);
  append_member(out, "bytes", check.bytes);
  append_member(out, "chain_head", to_hex(check.chain_head));
  append_member(out, "tail_bytes", check.tail_bytes);
  out += ",\"removed\":{";
  append_member(out, "segments", check.removed_segments);
  append_member(out, "records", check.removed_records);
  append_member(out, "events", check.removed_events);
  if (check.removed_segments > 0) {
    append_member(out, "first", rules::format_timestamp_ns(check.removed_first_ns));
    append_member(out, "last", rules::format_timestamp_ns(check.removed_last_ns));
  }
  out += "},\"sources\":[";
  for (const ledger::SourceCheck& source : check.sources) {
    out += out.ends_with('[') ? "{" : ",{";
    append_member(out, "agent", source.agent_id);
    append_member(out, "boot", source.boot_id);
    append_member(out, "first_sequence", source.first_sequence);
    append_member(out, "last_sequence", source.last_sequence);
    append_member(out, "batches", source.batches);
    append_member(out, "events", source.events);
    append_member(out, "missing", source.missing);
    append_member(out, "unchained", source.unchained);
    out += '}';
  }
  out += "],\"problems\":[";
  for (const std::string& problem : check.problems) {
    if (!out.ends_with('[')) out += ',';
    append_json_string(out, problem);
  }
  return out + "]}\n";
}

}  // namespace gatehouse::cli
