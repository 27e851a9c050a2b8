// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/result_masker.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "agent/mask/message.h"
#include "agent/shim/gate_messages.h"
#include "common/clock.h"
#include "common/file.h"
#include "rules/engine/policy.h"

namespace gatehouse::runtime {
namespace {

using judge::MaskedOutput;
using postgres::ResponseTag;
using shim::Passage;

constexpr size_t kSecretFileBytesMax = 4096;

mask::Method method_of(rules::MaskMethod method) {
  return static_cast<mask::Method>(method);
}
static_assert(static_cast<int>(rules::MaskMethod::kTokenise) == static_cast<int>(mask::Method::kTokenise));

void put_frame(std::string& out, ResponseTag tag, std::string_view body) {
  out += static_cast<char>(tag);
  const size_t length = body.size() + 4;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(length >> shift);
  out += body;
}

std::vector<postgres::Column> columns_of(std::span<const std::byte> description) {
  std::vector<postgres::Column> columns;
  const auto decoded = postgres::decode_row_description(description);
  if (!decoded) return columns;
  postgres::ColumnReader reader(decoded->columns);
  while (const auto column = reader.next()) columns.push_back(*column);
  return columns;
}

// Classes whose messages speak of names, states and resources, never of values. All others may: what a function raises,
// data exceptions, violated constraints.
bool is_servers_own(std::span<const std::byte> body) {
  constexpr std::string_view kClasses[] = {"08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "54",
                                           "55", "57", "58"};
  const auto fields = postgres::decode_error(body, postgres::Body::kWhole);
  return fields && std::ranges::find(kClasses, fields->sqlstate.substr(0, 2)) != std::end(kClasses);
}

mask::CopyOptions options_of(const sql::CopyFormat& format) {
  using Kind = sql::CopyFormat::Kind;
  auto options = mask::CopyOptions::of(format.kind == Kind::kText  ? mask::CopyFormat::kText
                                       : format.kind == Kind::kCsv ? mask::CopyFormat::kCsv
                                                                   : mask::CopyFormat::kBinary);
  if (format.kind == Kind::kBinary) return options;
  options.delimiter = format.delimiter;
  options.null = format.null;
  options.has_header = format.has_header;
  options.encoding = format.encoding;
  if (format.kind == Kind::kText) return options;
  options.quote = format.quote;
  options.escape = format.escape;
  return options;
}

}  // namespace

Result<mask::MasterKey> open_mask_secret(const std::string& path) {
  std::array<char, mask::MasterKey::kBytes> fresh{};
  if (::access(path.c_str(), F_OK) != 0) {
    if (::getrandom(fresh.data(), fresh.size(), 0) != static_cast<ssize_t>(fresh.size()))
      return Error::system("getrandom");
    GH_TRY(write_file_atomically(path, {fresh.data(), fresh.size()}, 0600));
    explicit_bzero(fresh.data(), fresh.size());
  }
  struct stat state{};
  if (::stat(path.c_str(), &state) != 0) return Error::system("stat " + path);
  if ((state.st_mode & 077) != 0)
    return Error::configuration(path + ": others may read this secret; it must be for its owner only (chmod 600)");
  GH_ASSIGN(std::string content, read_file(path, kSecretFileBytesMax));
  auto secret = mask::MasterKey::parse(content);
  explicit_bzero(content.data(), content.size());
  if (!secret)
    return Error::configuration(path + ": 32 bytes, or 64 hexadecimal digits, are expected");
  return std::move(*secret);
}

std::shared_ptr<const MaskKeys> derive_keys(const mask::MasterKey& secret, const rules::Policy& policy) {
  auto keys = std::make_shared<MaskKeys>();
  for (const rules::Mask& mask : policy.masks)
    keys->of_mask.push_back(std::make_shared<const mask::MaskKey>(secret.derive(mask.id)));
  return keys;
}

bool hide_message(ResponseTag tag, std::span<const std::byte> body, std::string& out) {
  if (is_servers_own(body)) return false;
  const auto fields = postgres::decode_error(body, postgres::Body::kWhole);
  const std::string sqlstate(fields ? fields->sqlstate : std::string_view("XX000"));
  const std::string severity(fields && !fields->severity.empty() ? fields->severity : std::string_view("ERROR"));
  std::string message = shim::error_response(
      {.severity = severity, .sqlstate = sqlstate, .message = "this message is masked (SQLSTATE " + sqlstate + ")"},
      true);
  message.front() = static_cast<char>(tag);
  out += message;
  return true;
}

ResultMasker::ResultMasker(std::shared_ptr<const judge::AnswerPlan> plan, std::shared_ptr<const MaskKeys> keys,
                           RecordSink& records, const Request& request)
    : plan_(std::move(plan)), keys_(std::move(keys)), records_(records), request_(request) {}

// Null: there are more results than statements, of which nothing is known.
const judge::MaskedResult* ResultMasker::result() const {
  return index_ < plan_->results.size() ? &plan_->results[index_] : nullptr;
}

MaskedOutput ResultMasker::output(size_t index, size_t count, const postgres::Column* column) const {
  const judge::MaskedResult* const known = result();
  MaskedOutput output;
  const bool is_other = known != nullptr && known->are_columns_known && known->columns.size() != count;
  if (known == nullptr || is_other) {
    // A result that nobody asked for, such as that of a table's rule: whatever masks there are.
    for (const uint32_t mask : plan_->active)
      if (!plan_->policy->masks[mask].columns.empty()) output = {.mask = mask, .whole = true, .source = {}};
  } else if (known->are_columns_known) {
    output = known->columns[index];
  } else {
    output = known->every;
  }
  if (output.mask != MaskedOutput::kNone || column == nullptr || plan_->ids == nullptr) return output;
  // The server's word of where a column is from.
  for (const uint32_t mask : plan_->ids->find(column->table_oid, static_cast<int16_t>(column->attribute)))
    if (std::ranges::find(plan_->active, mask) != plan_->active.end())
      return {.mask = mask, .whole = false, .source = {}};
  return output;
}

mask::ResultPlan ResultMasker::make_plan(size_t count, std::span<const postgres::Column> columns) {
  mask::ResultPlan plan;
  const auto& masks = plan_->policy->masks;
  const auto place_of = [&](uint32_t mask) {
    return static_cast<uint32_t>(std::ranges::find(plan_->active, mask) - plan_->active.begin());
  };
  for (const uint32_t mask : plan_->active) plan.keys.push_back(keys_->of_mask[mask]);
  shown_.clear();
  for (size_t i = 0; i < count; ++i) {
    const postgres::Column* const column = i < columns.size() ? &columns[i] : nullptr;
    MaskedOutput output = this->output(i, count, column);
    mask::ColumnPlan& to = plan.columns.emplace_back();
    std::string name = std::move(output.source);
    if (name.empty() && column != nullptr) name = column->name;
    shown_.push_back({.mask = output.mask, .name = std::move(name)});
    if (output.mask == MaskedOutput::kNone) continue;
    to = {.method = method_of(masks[output.mask].method),
          .mask = place_of(output.mask),
          .whole = output.whole,
          .nulls_too = masks[output.mask].nulls_too};
  }
  for (const uint32_t mask : plan_->detect) {
    mask::DetectPlan& detect = plan.detect.emplace_back();
    for (const std::string& word : masks[mask].detect)
      if (const auto detector = mask::detector_of(word)) detect.what.add(*detector);
    detect.method = method_of(masks[mask].method);
    detect.mask = place_of(mask);
  }
  return plan;
}

void ResultMasker::on_description(std::span<const std::byte> body) {
  if (!is_masked() || body.empty()) return;
  const auto columns = columns_of(body);
  mask::ResultPlan plan = make_plan(columns.size(), columns);
  if (plan.is_empty()) return;
  std::vector<mask::FieldType> fields;
  for (const postgres::Column& column : columns)
    fields.push_back({.oid = column.type_oid,
                      .typmod = column.type_modifier,
                      .is_binary = column.is_binary,
                      .name = std::string(column.name)});
  rows_.emplace(std::move(plan), fields, nullptr);
}

Passage ResultMasker::on_message(ResponseTag tag, std::span<const std::byte> body, std::string& out) {
  switch (tag) {
    case ResponseTag::kRowDescription:
      finish_result();
      on_description(body);
      return Passage::kAsIs;
    case ResponseTag::kDataRow:
      return is_over_limit(body.size()) ? Passage::kCut : on_row(body, out);
    case ResponseTag::kCopyOutResponse:
      return on_copy_begin(body);
    case ResponseTag::kCopyData:
      return is_over_limit(body.size()) ? Passage::kCut : on_copy_data(body, out);
    case ResponseTag::kCopyDone:
      return on_copy_end(out);
    case ResponseTag::kFunctionCallResponse:
      return on_value(body, out);
    case ResponseTag::kCopyBothResponse:
      return is_masked() ? cannot("what replication sends cannot be masked") : Passage::kAsIs;
    case ResponseTag::kErrorResponse:
    case ResponseTag::kNoticeResponse: {
      const Passage passage = redact(tag, body, out);
      if (tag == ResponseTag::kErrorResponse) finish_result();
      return passage;
    }
    case ResponseTag::kCommandComplete:
    case ResponseTag::kEmptyQueryResponse:
      finish_result();
      ++index_;
      return Passage::kAsIs;
    case ResponseTag::kPortalSuspended:
      finish_result();
      return Passage::kAsIs;
    default:
      return Passage::kAsIs;
  }
}

bool ResultMasker::is_over_limit(size_t bytes) {
  if (plan_->limited_by == nullptr) return false;
  ++row_count_;
  byte_count_ += bytes;
  const rules::ResultLimit& limit = plan_->limit;
  const bool is_rows = limit.rows != 0 && row_count_ > limit.rows;
  const bool is_bytes = limit.bytes != 0 && byte_count_ > limit.bytes;
  if (!is_rows && !is_bytes) return false;
  is_limit_ = true;
  message_ = "the result was cut after " +
             (is_rows ? std::to_string(limit.rows) + " rows" : std::to_string(limit.bytes) + " bytes");
  finish_result();
  return true;
}

Passage ResultMasker::cannot(std::string_view reason) {
  is_limit_ = false;
  message_ = reason;
  finish_result();
  return Passage::kEnd;
}

Passage ResultMasker::on_row(std::span<const std::byte> body, std::string& out) {
  if (!rows_) return Passage::kAsIs;
  switch (rows_->mask_row(body, out)) {
    case mask::RowOutcome::kUnchanged:
      return Passage::kAsIs;
    case mask::RowOutcome::kMasked:
      return Passage::kChanged;
    case mask::RowOutcome::kMalformed:
      return cannot("a row cannot be masked: it is not what the server described");
    case mask::RowOutcome::kTooLong:
      return cannot("a row cannot be masked: it would be too long");
  }
  return cannot("a row cannot be masked");
}

Passage ResultMasker::on_copy_begin(std::span<const std::byte> body) {
  if (!is_masked()) return Passage::kAsIs;
  const auto response = postgres::decode_copy_response(body);
  if (!response) return cannot("a copy cannot be masked: its description is malformed");
  const size_t count = response->column_count;
  mask::ResultPlan plan = make_plan(count, {});
  if (plan.is_empty()) return Passage::kAsIs;
  const judge::MaskedResult* const known = result();
  const bool is_binary = known != nullptr && known->copy && known->copy->kind == sql::CopyFormat::Kind::kBinary;
  if (known == nullptr || !known->copy || is_binary != response->is_binary)
    return cannot("a copy cannot be masked: its format is not known");
  std::vector<mask::FieldType> fields(count);
  for (size_t i = 0; i < count; ++i) fields[i] = {.is_binary = is_binary, .name = shown_[i].name};
  copy_.emplace(std::move(plan), options_of(*known->copy), fields, nullptr);
  return Passage::kAsIs;
}

Passage ResultMasker::on_copy_data(std::span<const std::byte> body, std::string& out) {
  if (!copy_) return Passage::kAsIs;
  if (copy_->push(body, out) != mask::CopyOutcome::kOk)
    return cannot("a copy cannot be masked: a row is not of its format, or too long");
  return Passage::kChanged;
}

Passage ResultMasker::on_copy_end(std::string& out) {
  if (!copy_) return Passage::kAsIs;
  if (copy_->finish(out) != mask::CopyOutcome::kOk)
    return cannot("a copy cannot be masked: a row is not of its format");
  put_frame(out, ResponseTag::kCopyDone, {});
  return Passage::kChanged;
}

// Of a function call: a length, and the value.
Passage ResultMasker::on_value(std::span<const std::byte> body, std::string& out) {
  mask::ResultPlan plan = make_plan(1, {});
  if (plan.is_empty() || body.size() < 4 || body[0] == std::byte{0xff}) return Passage::kAsIs;
  // Its type and format are nobody's to know: NULL is the only value that no client rejects.
  put_frame(out, ResponseTag::kFunctionCallResponse, std::string_view("\xff\xff\xff\xff", 4));
  return Passage::kChanged;
}

Passage ResultMasker::redact(ResponseTag tag, std::span<const std::byte> body, std::string& out) const {
  if (!is_masked()) return Passage::kAsIs;
  mask::MessagePolicy policy;
  const judge::MaskedResult* const known = result();
  policy.has_masked_columns = known == nullptr || known->has_masked;
  for (const uint32_t mask : plan_->detect)
    for (const std::string& word : plan_->policy->masks[mask].detect)
      if (const auto detector = mask::detector_of(word)) policy.what.add(*detector);
  if (policy.has_masked_columns && hide_message(tag, body, out)) return Passage::kChanged;
  return mask::redact_message(static_cast<char>(tag), body, policy, out) ? Passage::kChanged : Passage::kAsIs;
}

void ResultMasker::finish_result() {
  if (rows_) tell(rows_->counts());
  if (copy_) tell(copy_->counts());
  rows_.reset();
  copy_.reset();
}

void ResultMasker::tell(const mask::MaskCounts& counts) {
  const uint64_t now_ns = boottime_ns();
  const auto say = [&](uint32_t mask, std::string_view column, uint64_t values) {
    const rules::Mask& by = plan_->policy->masks[mask];
    records_.on_masked({.socket = request_.socket,
                        .time_ns = now_ns,
                        .offset = request_.offset,
                        .values = values,
                        .mask = by.id,
                        .column = column,
                        .method = rules::name_of(by.method)});
  };
  for (size_t i = 0; i < counts.columns.size() && i < shown_.size(); ++i)
    if (counts.columns[i] > 0 && shown_[i].mask != MaskedOutput::kNone)
      say(shown_[i].mask, shown_[i].name, counts.columns[i]);
  for (size_t i = 0; i < counts.masks.size() && i < plan_->active.size(); ++i)
    if (counts.masks[i].spans > 0) say(plan_->active[i], "*", counts.masks[i].spans);
}

shim::Ruling ResultMasker::why() const {
  if (!is_limit_)
    return {.kind = shim::Ruling::Kind::kTerminate,
            .rule = "gatehouse.cannot-mask",
            .sqlstate = "42501",
            .message = message_,
            .hint = "Ask for columns that are not masked, or whoever keeps the rules of this host."};
  const rules::Rule& rule = *plan_->limited_by;
  return {.kind = shim::Ruling::Kind::kRefuse,
          .rule = rule.id,
          .sqlstate = rule.sqlstate,
          .message = message_,
          .detail = rule.message,
          .hint = "Ask for less, or whoever keeps the rules of this host for more."};
}

}  // namespace gatehouse::runtime
