// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/cost_meter.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "common/file.h"

namespace gatehouse::runtime {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kMillion = 1'000'000;
constexpr size_t kStatusBytesMax = 64U << 10;  // the kernel's file has some 1.5 KiB

uint64_t ns_of(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * kSecondNs + static_cast<uint64_t>(time.tv_usec) * 1000;
}

uint64_t difference(uint64_t after, uint64_t before) {
  return after > before ? after - before : 0;
}

// `part` of `whole` in millionths; both are below some years of ns.
uint64_t millionths(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<uint64_t>(static_cast<double>(part) * kMillion / static_cast<double>(whole));
}

// "VmRSS:     1234 kB", in bytes.
uint64_t kilobytes_in(std::string_view status, std::string_view name) {
  size_t at = status.find(name);
  if (at == std::string_view::npos) return 0;
  at = status.find_first_of("0123456789", at + name.size());
  uint64_t kilobytes = 0;
  if (at != std::string_view::npos) std::from_chars(status.data() + at, status.data() + status.size(), kilobytes);
  return kilobytes * 1024;
}

}  // namespace

OwnCost read_own_cost() {
  OwnCost cost;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) cost.cpu_ns = ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
  // Not its ru_maxrss: that begins with what the process was before it became this program.
  if (const auto status = read_file("/proc/self/status", kStatusBytesMax)) {
    cost.resident_bytes = kilobytes_in(*status, "\nVmRSS:");
    // Two accounts, of which one may be behind.
    cost.resident_bytes_max = std::max(kilobytes_in(*status, "\nVmHWM:"), cost.resident_bytes);
  }
  return cost;
}

CostMeter::CostMeter(uint64_t sample_ns, Programs programs) : sample_ns_(sample_ns), programs_(std::move(programs)) {}

void CostMeter::turn(uint64_t now_ns, uint64_t next_status_ns) {
  if (is_sampling_ || is_refused_ || sample_ns_ == 0 || now_ns + sample_ns_ < next_status_ns) return;
  if (!programs_.count(true)) {
    is_refused_ = true;
    return;
  }
  is_sampling_ = true;
  sample_began_ns_ = now_ns;
  before_ = programs_.read();
}

void CostMeter::end_sample(uint64_t now_ns) {
  uint64_t run_ns = 0;
  for (const ProgramCost& after : programs_.read()) {
    const auto before = std::ranges::find(before_, after.name, &ProgramCost::name);
    const ProgramCost none{};
    const ProgramCost& from = before == before_.end() ? none : *before;
    Sums& sums = sums_[after.name];
    sums.run_ns += difference(after.run_ns, from.run_ns);
    sums.runs += difference(after.runs, from.runs);
    run_ns += difference(after.run_ns, from.run_ns);
  }
  programs_.count(false);
  is_sampling_ = false;
  const uint64_t took_ns = difference(now_ns, sample_began_ns_);
  sampled_ns_ += took_ns;
  bpf_cpu_ppm_ = millionths(run_ns, took_ns);
}

void CostMeter::close_interval(uint64_t now_ns, const OwnCost& own, uint64_t records) {
  if (is_sampling_) end_sample(now_ns);
  own_ = own;
  if (closed_ns_ != 0 && now_ns > closed_ns_) {
    const uint64_t took_ns = now_ns - closed_ns_;
    cpu_ppm_ = millionths(difference(own.cpu_ns, closed_cpu_ns_), took_ns);
    records_per_second_ = millionths(difference(records, closed_records_) * (kSecondNs / kMillion), took_ns);
  }
  closed_ns_ = now_ns;
  closed_cpu_ns_ = own.cpu_ns;
  closed_records_ = records;
}

void CostMeter::add_to(std::map<std::string, uint64_t>& counters) const {
  counters["cost_cpu_ns"] = own_.cpu_ns;
  counters["cost_cpu_ppm"] = cpu_ppm_;
  counters["cost_resident_bytes"] = own_.resident_bytes;
  counters["cost_resident_bytes_max"] = own_.resident_bytes_max;
  counters["records_per_second"] = records_per_second_;
  if (sampled_ns_ == 0) return;
  counters["cost_bpf_ppm"] = bpf_cpu_ppm_;
  counters["cost_bpf_sampled_ns"] = sampled_ns_;
  for (const auto& [name, sums] : sums_) {
    counters["cost_bpf_ns_" + name] = sums.run_ns;
    counters["cost_bpf_runs_" + name] = sums.runs;
  }
}

}  // namespace gatehouse::runtime
