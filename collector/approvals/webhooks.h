// SPDX-License-Identifier: Apache-2.0
// Webhooks: tells other services of requests, in the background and again until they have taken it. What is not
// delivered is in files, and survives a restart. A thread for each hook: one that hangs holds up none but itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collector/approvals/webhook_body.h"
#include "common/result.h"

namespace gatehouse::approvals {

struct WebhookConfig {
  std::string url;  // https, or http to this host
  std::string secret;
  WebhookFormat format = WebhookFormat::kJson;
  std::vector<std::string> events;  // of "asked", "decided", "expired"; empty: all
};

class Webhooks {
 public:
  struct Options {
    std::string folder;  // made if it is not there
    std::vector<WebhookConfig> hooks;
    uint64_t retry_min_ms = 1'000;  // doubles
    uint64_t retry_max_ms = 300'000;
    uint64_t timeout_ms = 10'000;    // of one attempt
    uint64_t give_up_s = 24 * 3600;  // after that, a message is dropped, and the log says so
  };
  static Result<std::unique_ptr<Webhooks>> open(Options options);
  ~Webhooks();  // what is not delivered stays

  // Queues. Any thread; writes a file for each hook that wants it.
  void tell(std::string_view event, const v1::ApprovalView& view);

  struct Counters {
    uint64_t delivered = 0, failed_attempts = 0, given_up = 0, dropped = 0, waiting = 0;
  };
  [[nodiscard]] Counters counters() const;

 private:
  struct Hook;
  explicit Webhooks(Options options);
  Options options_;
  std::vector<std::unique_ptr<Hook>> hooks_;
};

// Messages that wait for one hook; what comes when there are so many is dropped, and counted.
inline constexpr size_t kWebhookQueueMax = 10'000;

// "https://host/…", or "http://" to this host itself.
bool is_webhook_url(std::string_view url);

}  // namespace gatehouse::approvals
