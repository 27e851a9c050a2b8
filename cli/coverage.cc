// SPDX-License-Identifier: Apache-2.0
#include "cli/coverage.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "cli/human.h"
#include "cli/safe_text.h"

namespace gatehouse::cli {
namespace {

struct Meaning {
  std::string_view reason;
  std::string_view words;
};
constexpr Meaning kMeanings[] = {
    {"ring-full", "the agent was too slow and the kernel's ring was full"},
    {"fault", "the process's memory could not be read"},
    {"unsupported", "sent in a way that cannot be read, such as sendfile or splice"},
    {"unsynced", "where messages begin was not known"},
    {"cut", "the rest of messages that are longer than what is kept"},
    {"opaque", "not readable"},
    {"opened-before-watching", "moved before the watching began"},
    {"tls", "encrypted with TLS"},
    {"gss", "encrypted with GSS"},
    {"not-postgresql", "not PostgreSQL's protocol"},
    {"spool-full", "the agent's spool was full"},
    {"spool-disk-error", "the agent's disk failed"},
};

std::string meaning_of(std::string_view reason) {
  const auto* const found = std::ranges::find(kMeanings, reason, &Meaning::reason);
  return found == std::end(kMeanings) ? safe(reason) : std::string(found->words);
}

// The number of `name=number` among words.
std::optional<uint64_t> number_in(std::string_view words, std::string_view name) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    const std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (word.size() <= name.size() || !word.starts_with(name) || word[name.size()] != '=') continue;
    uint64_t number = 0;
    std::from_chars(word.data() + name.size() + 1, word.data() + word.size(), number);
    return number;
  }
  return std::nullopt;
}

std::string_view take_word(std::string_view& words) {
  const size_t end = std::min(words.find(' '), words.size());
  const std::string_view word = words.substr(0, end);
  words.remove_prefix(std::min(end + 1, words.size()));
  return word;
}

std::string bytes_text(uint64_t bytes) {
  return human_count(bytes) + (bytes == 1 ? " byte" : " bytes");
}

std::string place_text(uint64_t gaps, uint64_t from, uint64_t to) {
  return (gaps == 1 ? "1 gap" : human_count(gaps) + " gaps") + (gaps == 1 ? " at offsets " : " within offsets ") +
         human_count(from) + " to " + human_count(to);
}

// "request ring-full bytes=4096 gaps=2 from=120 to=9000", as the collector writes it, or a reason alone.
std::string reason_text(std::string_view reason) {
  std::string_view words = reason;
  std::string_view first = take_word(words);
  if (first != "request" && first != "response") {
    return first == "opened-before-watching" ? "open before the watching began: what it did until then is not known"
                                             : meaning_of(first);
  }
  const std::string of = first == "request" ? " of requests" : " of answers";
  const std::string_view why = take_word(words);
  std::string text = bytes_text(number_in(words, "bytes").value_or(0)) + of;
  if (const auto gaps = number_in(words, "gaps"))
    text += " in " + place_text(*gaps, number_in(words, "from").value_or(0), number_in(words, "to").value_or(0));
  return text + ": " + meaning_of(why);
}

std::string_view verdict_text(std::string_view verdict) {
  if (verdict == "full") return "every byte was seen";
  if (verdict == "truncated") return "parts of long messages were not kept";
  if (verdict == "gaps") return "not everything was seen";
  if (verdict == "blind") return "nothing of what the client said could be read";
  if (verdict == "opaque") return "the content cannot be read";
  return "";
}

}  // namespace

void SessionCoverage::add(const v1::Row& row) {
  if (row.kind() == "disconnect") {
    has_ended_ = true;
    told_ = row.coverage_verdict();
    reasons_.assign(row.coverage_reasons().begin(), row.coverage_reasons().end());
    return;
  }
  facts_.joined = facts_.joined || row.fidelity() == "joined-mid-stream";
  if (row.kind() == "opaque") {
    facts_.opaque = true;
    opaque_ = row.detail();
  } else if (row.kind() == "gap") {
    std::string_view words = row.detail();
    const std::string_view reason = take_word(words);
    if (reason == "opened-before-watching") {
      past_ = row.detail();
      return;
    }
    const std::string_view direction = take_word(words);
    Missing& missing = missing_[std::string(direction) + " " + std::string(reason)];
    const uint64_t bytes = number_in(words, "bytes").value_or(0);
    const uint64_t offset = number_in(words, "offset").value_or(0);
    if (missing.gaps++ == 0) missing.from = offset;
    missing.bytes += bytes;
    missing.to = std::max(missing.to, offset + bytes);
    facts_.lost_bytes += bytes;
    if (direction == "request") facts_.request_bytes += bytes;
  } else {
    // Whatever else is told of a session was read out of its bytes.
    facts_.request_read += 1;
    facts_.request_bytes += 1;
    if (row.fidelity() == "truncated") facts_.truncated_bytes += 1;
  }
}

void SessionCoverage::add_of_agent(const v1::Row& gap) {
  std::string_view words = gap.detail();
  const std::string reason(take_word(words));
  if (reason == "agent-killed" || reason == "agent-stopped") {
    // What has ended in the record was seen to its end.
    if (!has_ended_ && unwatched_.empty()) unwatched_ = words;
    return;
  }
  of_agent_[reason] += number_in(words, "events").value_or(0);
}

std::string_view SessionCoverage::verdict() const {
  const std::string_view own = told_.empty() ? to_text(judge_coverage(facts_)) : std::string_view(told_);
  return (!of_agent_.empty() || !unwatched_.empty()) && (own == "full" || own == "truncated") ? "gaps" : own;
}

std::vector<std::string> SessionCoverage::lines() const {
  std::vector<std::string> lines;
  const std::string_view now = verdict();
  const std::string_view words = verdict_text(now);
  lines.push_back(safe(now) + (words.empty() ? "" : (has_ended_ ? ": " : " so far: ") + std::string(words)));
  if (!told_.empty()) {
    for (const std::string& reason : reasons_) lines.push_back(reason_text(reason));
  } else {
    if (!past_.empty()) {
      const auto requests = number_in(past_, "bytes"), answers = number_in(past_, "response_bytes");
      lines.push_back("open before the watching began" +
                      (requests || answers ? ": " + bytes_text(requests.value_or(0)) + " of requests and " +
                                                 bytes_text(answers.value_or(0)) + " of answers were not seen"
                                           : ": what it did until then is not known"));
    }
    if (!opaque_.empty()) lines.push_back(meaning_of(opaque_));
    for (const auto& [what, missing] : missing_)
      lines.push_back(reason_text(what + " bytes=" + std::to_string(missing.bytes) +
                                  " gaps=" + std::to_string(missing.gaps) + " from=" + std::to_string(missing.from) +
                                  " to=" + std::to_string(missing.to)));
    if (facts_.truncated_bytes > 0) lines.push_back(meaning_of("cut"));
  }
  if (!unwatched_.empty()) lines.push_back("its agent did not run and saw no end of it: " + safe(unwatched_));
  for (const auto& [reason, events] : of_agent_)
    lines.push_back(human_count(events) +
                    " events of its agent were dropped meanwhile, perhaps some of this session: " + meaning_of(reason));
  return lines;
}

}  // namespace gatehouse::cli
