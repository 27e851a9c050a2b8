// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/cost_meter.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <ctime>

namespace gatehouse::runtime {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

// A kernel that counts only when it is asked to, and whose programs run all the time.
struct Kernel {
  bool is_counting = false;
  bool refuses = false;
  unsigned begun = 0;
  std::vector<ProgramCost> programs{{"on_send", 0, 0}, {"on_receive", 0, 0}};

  void run(uint64_t ns, uint64_t runs) {
    if (!is_counting) return;
    programs[0].run_ns += ns;
    programs[0].runs += runs;
  }
  CostMeter::Programs handle() {
    return {.count =
                [this](bool on) {
                  begun += on;
                  is_counting = on && !refuses;
                  return !refuses;
                },
            .read = [this] { return programs; }};
  }
};

std::map<std::string, uint64_t> told(const CostMeter& meter) {
  std::map<std::string, uint64_t> counters;
  meter.add_to(counters);
  return counters;
}

TEST(CostMeter, RatesAreOfTheLastInterval) {
  Kernel kernel;
  CostMeter meter(0, kernel.handle());
  meter.close_interval(10 * kSecond, {.cpu_ns = 3 * kSecond, .resident_bytes = 7, .resident_bytes_max = 9}, 500);
  EXPECT_EQ(told(meter)["cost_cpu_ppm"], 0U);  // of no interval yet
  EXPECT_EQ(told(meter)["cost_cpu_ns"], 3 * kSecond);
  meter.close_interval(70 * kSecond, {.cpu_ns = 3 * kSecond + kSecond * 6 / 10, .resident_bytes = 8}, 500 + 120'000);
  EXPECT_EQ(told(meter)["cost_cpu_ppm"], 10'000U);  // 0.6 s of 60 s
  EXPECT_EQ(told(meter)["records_per_second"], 2'000U);
  EXPECT_EQ(told(meter)["cost_resident_bytes"], 8U);
  EXPECT_EQ(kernel.begun, 0U);
  EXPECT_FALSE(told(meter).contains("cost_bpf_ppm"));
}

TEST(CostMeter, CountsRunsInTheSampleOnly) {
  Kernel kernel;
  CostMeter meter(kSecond, kernel.handle());
  meter.close_interval(0, {}, 0);
  for (const uint64_t status : {60 * kSecond, 120 * kSecond}) {
    kernel.run(99, 9);
    meter.turn(status - kSecond - 1, status);
    EXPECT_FALSE(kernel.is_counting);
    meter.turn(status - kSecond, status);
    EXPECT_TRUE(kernel.is_counting);
    kernel.run(2'000'000, 1000);
    meter.turn(status - 1, status);
    meter.close_interval(status, {}, 0);
    EXPECT_FALSE(kernel.is_counting);
  }
  EXPECT_EQ(kernel.begun, 2U);
  EXPECT_EQ(told(meter)["cost_bpf_ns_on_send"], 4'000'000U);
  EXPECT_EQ(told(meter)["cost_bpf_runs_on_send"], 2000U);
  EXPECT_EQ(told(meter)["cost_bpf_runs_on_receive"], 0U);
  EXPECT_EQ(told(meter)["cost_bpf_sampled_ns"], 2 * kSecond);
  EXPECT_EQ(told(meter)["cost_bpf_ppm"], 2'000U);
}

// Others may have the kernel count all the time: what it counted before the sample is not the sample's.
TEST(CostMeter, TakesDifferences) {
  Kernel kernel;
  kernel.programs[0] = {"on_send", 1'000'000'000, 5};
  CostMeter meter(kSecond, kernel.handle());
  meter.turn(9 * kSecond, 10 * kSecond);
  kernel.run(50, 1);
  meter.close_interval(10 * kSecond, {}, 0);
  EXPECT_EQ(told(meter)["cost_bpf_ns_on_send"], 50U);
}

TEST(CostMeter, ARefusalIsTakenOnce) {
  Kernel kernel{.refuses = true};
  CostMeter meter(kSecond, kernel.handle());
  for (uint64_t now = 0; now < 100; ++now) meter.turn(now * kSecond, (now + 1) * kSecond);
  meter.close_interval(100 * kSecond, {}, 0);
  EXPECT_EQ(kernel.begun, 1U);
  EXPECT_FALSE(told(meter).contains("cost_bpf_ppm"));
}

// The reading itself, against the kernel's other account of the same.
TEST(CostMeter, ReadsThisProcess) {
  constexpr size_t kBytes = 64U << 20;
  const auto cpu_ns = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
  };
  const OwnCost before = read_own_cost();
  void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  const uint64_t at_least = cpu_ns();
  const OwnCost after = read_own_cost();
  // getrusage() counts in microseconds.
  EXPECT_GE(after.cpu_ns + 2'000, at_least);
  EXPECT_LE(after.cpu_ns, cpu_ns());
  EXPECT_GE(after.resident_bytes, before.resident_bytes + kBytes * 9 / 10);
  EXPECT_GE(after.resident_bytes_max, kBytes);
  ::munmap(memory, kBytes);
}

}  // namespace
}  // namespace gatehouse::runtime
