// SPDX-License-Identifier: Apache-2.0
// ResultMasker: an answer on its way to the client, masked and cut as its plan says, and what came of it told to the
// record. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/judge/masks.h"
#include "agent/mask/copy_masker.h"
#include "agent/mask/keys.h"
#include "agent/mask/row_masker.h"
#include "agent/protocol/postgres/response_messages.h"
#include "agent/shim/gate.h"
#include "agent/stream/records.h"
#include "common/result.h"

namespace gatehouse::runtime {

// What the masks of a policy compute with, by their number in it. Immutable.
struct MaskKeys {
  std::vector<std::shared_ptr<const mask::MaskKey>> of_mask;
};
// Reads the secret from `path`, and makes it, for the owner only, if there is no such file.
Result<mask::MasterKey> open_mask_secret(const std::string& path);
std::shared_ptr<const MaskKeys> derive_keys(const mask::MasterKey& secret, const rules::Policy& policy);

// An error or notice that may tell of masked values becomes one that does not, and keeps its SQLSTATE and severity.
// False: it cannot tell, by its class.
bool hide_message(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out);

class ResultMasker final : public shim::ResultGuard {
 public:
  struct Request {
    SocketId socket = 0;
    uint64_t offset = 0;
  };
  // `records` outlives it.
  ResultMasker(std::shared_ptr<const judge::AnswerPlan> plan, std::shared_ptr<const MaskKeys> keys, RecordSink& records,
               const Request& request);

  [[nodiscard]] bool wants_description() const override { return !plan_->active.empty(); }
  void on_description(std::span<const std::byte> body) override;
  [[nodiscard]] bool may_cut() const override { return plan_->limited_by != nullptr; }
  shim::Passage on_message(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out) override;
  [[nodiscard]] shim::Ruling why() const override;

 private:
  [[nodiscard]] const judge::MaskedResult* result() const;
  [[nodiscard]] bool is_masked() const { return !plan_->active.empty(); }
  // What is known of the column `index` of the result at hand.
  [[nodiscard]] judge::MaskedOutput output(size_t index, size_t count, const postgres::Column* column) const;
  mask::ResultPlan make_plan(size_t count, std::span<const postgres::Column> columns);
  shim::Passage on_row(std::span<const std::byte> body, std::string& out);
  shim::Passage on_copy_begin(std::span<const std::byte> body);
  shim::Passage on_copy_data(std::span<const std::byte> body, std::string& out);
  shim::Passage on_copy_end(std::string& out);
  shim::Passage on_value(std::span<const std::byte> body, std::string& out);
  shim::Passage redact(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out) const;
  bool is_over_limit(size_t bytes);
  shim::Passage cannot(std::string_view reason);
  void finish_result();
  void tell(const mask::MaskCounts& counts);

  const std::shared_ptr<const judge::AnswerPlan> plan_;
  const std::shared_ptr<const MaskKeys> keys_;
  RecordSink& records_;
  const Request request_;
  size_t index_ = 0;  // of the text's statements
  std::optional<mask::RowMasker> rows_;
  std::optional<mask::CopyMasker> copy_;
  struct Shown {
    uint32_t mask = judge::MaskedOutput::kNone;
    std::string name;
  };
  std::vector<Shown> shown_;  // by column
  uint64_t row_count_ = 0, byte_count_ = 0;
  std::string message_;
  bool is_limit_ = false;
};

}  // namespace gatehouse::runtime
