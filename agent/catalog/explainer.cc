// SPDX-License-Identifier: Apache-2.0
#include "agent/catalog/explainer.h"

#include <algorithm>
#include <charconv>

#include "agent/catalog/connection.h"

namespace gatehouse::catalog {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return (text.find('\\') == std::string_view::npos ? "" : " E") + out + "'";
}

}  // namespace

std::optional<uint64_t> estimated_rows(std::string_view plan) {
  constexpr std::string_view kRows = " rows=";
  for (size_t at = plan.find(kRows); at != std::string_view::npos; at = plan.find(kRows, at)) {
    at += kRows.size();
    uint64_t rows = 0;
    std::from_chars(plan.data() + at, plan.data() + plan.size(), rows);
    if (rows > 0) return rows;
  }
  return std::nullopt;
}

Explainer::Explainer(std::vector<std::pair<std::string, CatalogSource>> sources)
    : sources_(std::move(sources)), thread_([this] { run(); }) {}

Explainer::~Explainer() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Explainer::ask(Question question, std::function<void(Plan)> tell) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() < kPlansWaitingMax && !is_stopping_) {
      queue_.push_back({.question = std::move(question), .tell = std::move(tell)});
      changed_.notify_all();
      return;
    }
  }
  tell({});
}

void Explainer::run() {
  for (;;) {
    Entry entry;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
      if (is_stopping_) return;
      entry = std::move(queue_.front());
      queue_.pop_front();
    }
    entry.tell(explain(entry.question));
  }
}

Plan Explainer::explain(const Question& question) {
  const auto source = std::ranges::find(sources_, question.label, &std::pair<std::string, CatalogSource>::first);
  if (source == sources_.end()) return {};
  const auto stop = [this] {
    const std::lock_guard lock(mutex_);
    return is_stopping_;
  };
  auto connection =
      Connection::open(source->second, question.database, stop, Connection::Clock::now() + kPlanTimeMax);
  if (!connection) return {};
  if (!connection->run("BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '500ms'"))
    return {};
  if (question.search_path && !connection->run("SELECT set_config('search_path', " + quoted(*question.search_path) +
                                               ", true)"))
    return {};
  // Options in brackets: a text that begins with ANALYZE is then a mistake, not an option. And one statement at most.
  const auto lines = connection->query_one("EXPLAIN (ANALYZE false, FORMAT TEXT) " + question.text);
  if (!lines) return {};
  Plan plan;
  for (size_t row = 0; row < lines->size() && plan.text.size() < kPlanBytesMax; ++row)
    plan.text += std::string(lines->text(row, 0)) + "\n";
  plan.rows = estimated_rows(plan.text);
  return plan;
}

}  // namespace gatehouse::catalog
