// SPDX-License-Identifier: Apache-2.0
// CostMeter: what the watching costs this host, in counters of the agent's status. Pure but for read_own_cost().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/stream/program_cost.h"

namespace gatehouse::runtime {

struct OwnCost {
  uint64_t cpu_ns = 0;  // of all threads, user and system, since the start
  uint64_t resident_bytes = 0;
  uint64_t resident_bytes_max = 0;
};
OwnCost read_own_cost();

// The kernel's programs run in the processes that are watched, and their time is not in the agent's own. Counting it
// makes every run a little dearer, of all programs of the host, so it is done for `sample_ns` before each status.
class CostMeter {
 public:
  struct Programs {
    std::function<bool(bool on)> count;  // begins or ends the counting; false: the kernel refuses
    std::function<std::vector<ProgramCost>()> read;
  };
  // `sample_ns` 0: never.
  CostMeter(uint64_t sample_ns, Programs programs);

  // Begins a sample when the next status is near. Cheap.
  void turn(uint64_t now_ns, uint64_t next_status_ns);
  // Ends the sample and the interval since the last call. `records`: delivered since the start.
  void close_interval(uint64_t now_ns, const OwnCost& own, uint64_t records);
  // See docs/counters.md.
  void add_to(std::map<std::string, uint64_t>& counters) const;

 private:
  struct Sums {
    uint64_t run_ns = 0, runs = 0;
  };
  void end_sample(uint64_t now_ns);

  uint64_t sample_ns_;
  Programs programs_;
  bool is_sampling_ = false;
  bool is_refused_ = false;
  uint64_t sample_began_ns_ = 0;
  std::vector<ProgramCost> before_;
  std::map<std::string, Sums> sums_;  // of all samples
  uint64_t sampled_ns_ = 0;
  uint64_t bpf_cpu_ppm_ = 0;  // of the last sample

  OwnCost own_;
  uint64_t closed_ns_ = 0, closed_cpu_ns_ = 0, closed_records_ = 0;
  uint64_t cpu_ppm_ = 0, records_per_second_ = 0;  // of the last interval
};

}  // namespace gatehouse::runtime
