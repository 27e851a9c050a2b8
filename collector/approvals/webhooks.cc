// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/webhooks.h"

#include <curl/curl.h>
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "common/digest.h"
#include "common/file.h"
#include "common/log.h"
#include "common/version.h"

namespace gatehouse::approvals {
namespace {

constexpr std::string_view kComponent = "webhooks";
constexpr size_t kBodyBytesMax = 1U << 20;
constexpr uint64_t kSecondNs = 1'000'000'000;

// "<unix ns, 20 digits>-<event>": in the order in which they are to go.
std::string file_name(uint64_t now_ns, std::string_view event) {
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%020lu", now_ns);
  return std::string(digits.data()) + "-" + std::string(event);
}

uint64_t time_of(const std::string& name) {
  uint64_t time_ns = 0;
  std::from_chars(name.data(), name.data() + std::min(name.find('-'), name.size()), time_ns);
  return time_ns;
}

// For the log: what stands behind the host is the key to some chats.
std::string origin_of(const std::string& url) {
  const size_t host = url.find("//") + 2;
  return url.substr(0, url.find_first_of("/?#", host));
}

size_t discard(char* /*data*/, size_t size, size_t count, void* /*to*/) {
  return size * count;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const directory = ::opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name.size() > 21 && name[20] == '-' && name.find('.') == std::string_view::npos) names.emplace_back(name);
  }
  ::closedir(directory);
  std::ranges::sort(names);
  return names;
}

}  // namespace

bool is_webhook_url(std::string_view url) {
  if (url.starts_with("https://") && url.size() > 8) return true;
  for (const std::string_view local : {"http://127.0.0.1", "http://localhost", "http://[::1]"}) {
    if (!url.starts_with(local)) continue;
    const std::string_view rest = url.substr(local.size());
    if (rest.empty() || rest.front() == ':' || rest.front() == '/') return true;
  }
  return false;
}

struct Webhooks::Hook {
  Hook(const Options& its_options, WebhookConfig its_config, std::string its_folder)
      : options(its_options), config(std::move(its_config)), folder(std::move(its_folder)) {}
  ~Hook() {
    {
      const std::lock_guard lock(mutex);
      is_stopping = true;
    }
    changed.notify_all();
    if (thread.joinable()) thread.join();
  }

  void run();
  bool deliver(const std::string& name, const std::string& body);

  const Options& options;
  const WebhookConfig config;
  const std::string folder;
  std::thread thread;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> queue;  // files
  Counters counters;
  bool is_stopping = false;
  uint64_t last_name_ns = 0;
};

void Webhooks::Hook::run() {
  uint64_t pause_ms = 0;
  for (;;) {
    std::string name;
    {
      std::unique_lock lock(mutex);
      if (pause_ms > 0) changed.wait_for(lock, std::chrono::milliseconds(pause_ms), [this] { return is_stopping; });
      changed.wait(lock, [this] { return is_stopping || !queue.empty(); });
      if (is_stopping) return;
      name = queue.front();
    }
    const std::string path = folder + "/" + name;
    const auto body = read_file(path, kBodyBytesMax);
    const bool is_delivered = body && deliver(name, *body);
    const uint64_t now_ns = unix_ns();
    const uint64_t age_s = (now_ns - std::min(now_ns, time_of(name))) / kSecondNs;
    const bool is_given_up = !is_delivered && (!body || age_s > options.give_up_s);
    const std::lock_guard lock(mutex);
    if (is_delivered || is_given_up) {
      ++(is_delivered ? counters.delivered : counters.given_up);
      if (is_given_up)
        log::error(kComponent, "a message is given up", {{"to", origin_of(config.url)}, {"message", name}});
      ::unlink(path.c_str());
      queue.pop_front();
      pause_ms = 0;
    } else {
      ++counters.failed_attempts;
      pause_ms = pause_ms == 0 ? options.retry_min_ms : std::min(pause_ms * 2, options.retry_max_ms);
    }
  }
}

bool Webhooks::Hook::deliver(const std::string& name, const std::string& body) {
  CURL* const curl = curl_easy_init();
  if (curl == nullptr) return false;
  const uint64_t now_s = unix_ns() / kSecondNs;
  curl_slist* headers = nullptr;
  for (const std::string& header :
       {std::string("Content-Type: application/json"), "User-Agent: gatehouse-collector/" + std::string(kVersion),
        "X-Gatehouse-Event: " + name.substr(21), "X-Gatehouse-Delivery: " + name.substr(0, 20),
        "X-Gatehouse-Timestamp: " + std::to_string(now_s),
        "X-Gatehouse-Signature: " + webhook_signature(config.secret, now_s, body), std::string("Expect:")})
    headers = curl_slist_append(headers, header.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, config.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout_ms));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  constexpr long kOk = 200, kRedirect = 300;
  const bool is_delivered = code == CURLE_OK && status >= kOk && status < kRedirect;
  if (!is_delivered)
    log::debug(kComponent, "not delivered",
               {{"to", origin_of(config.url)},
                {"error", code == CURLE_OK ? "status" : curl_easy_strerror(code)},
                {"status", status}});
  return is_delivered;
}

Webhooks::Webhooks(Options options) : options_(std::move(options)) {}

Webhooks::~Webhooks() = default;

Result<std::unique_ptr<Webhooks>> Webhooks::open(Options options) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  std::unique_ptr<Webhooks> webhooks(new Webhooks(std::move(options)));
  for (const WebhookConfig& config : webhooks->options_.hooks) {
    // By its address: one that is taken out and put back finds what waited.
    const std::string name = to_hex(sha256(as_bytes(config.url))).substr(0, 16);
    const std::string folder = webhooks->options_.folder + "/" + name;
    GH_TRY(make_directories(folder).context("webhooks"));
    auto hook = std::make_unique<Hook>(webhooks->options_, config, folder);
    for (std::string& waiting : names_in(folder)) hook->queue.push_back(std::move(waiting));
    if (!hook->queue.empty()) hook->last_name_ns = time_of(hook->queue.back());
    webhooks->hooks_.push_back(std::move(hook));
  }
  for (const auto& hook : webhooks->hooks_) hook->thread = std::thread([raw = hook.get()] { raw->run(); });
  return webhooks;
}

void Webhooks::tell(std::string_view event, const v1::ApprovalView& view) {
  for (const auto& hook : hooks_) {
    const std::vector<std::string>& events = hook->config.events;
    if (!events.empty() && std::ranges::find(events, event) == events.end()) continue;
    const std::lock_guard lock(hook->mutex);
    if (hook->queue.size() >= kWebhookQueueMax) {
      ++hook->counters.dropped;
      continue;
    }
    hook->last_name_ns = std::max(unix_ns(), hook->last_name_ns + 1);
    const std::string name = file_name(hook->last_name_ns, event);
    const Status written =
        write_file_atomically(hook->folder + "/" + name, webhook_body(hook->config.format, event, view));
    if (!written) {
      ++hook->counters.dropped;
      log::error(kComponent, "a message is lost",
                 {{"to", origin_of(hook->config.url)}, {"error", written.error().message()}});
      continue;
    }
    hook->queue.push_back(name);
    hook->changed.notify_all();
  }
}

Webhooks::Counters Webhooks::counters() const {
  Counters sum;
  for (const auto& hook : hooks_) {
    const std::lock_guard lock(hook->mutex);
    sum.delivered += hook->counters.delivered;
    sum.failed_attempts += hook->counters.failed_attempts;
    sum.given_up += hook->counters.given_up;
    sum.dropped += hook->counters.dropped;
    sum.waiting += hook->queue.size();
  }
  return sum;
}

}  // namespace gatehouse::approvals
