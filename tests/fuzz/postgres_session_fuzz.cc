// SPDX-License-Identifier: Apache-2.0
// Two oracles, by the first byte.
//   wire:    any bytes, in any order of directions: chunking must not matter, the account of bytes balances, memory
//            stays under its ceiling.
//   program: the input is a program for an honest client and server; a hole anywhere must not make the session say
//            anything unmarked that it does not say without the hole.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/limits.h"
#include "tests/support/postgres_wire.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::test;

struct Hole {
  Direction direction = Direction::kRequest;
  size_t from = 0, size = 0;
};

std::vector<std::string> play(const Script& script, size_t chunk_bytes, const Hole& hole) {
  Feeder feeder;
  std::array<size_t, kDirections> at{};
  for (const Write& write : script)
    for (size_t i = 0; i < write.bytes.size(); i += chunk_bytes) {
      const std::string_view bytes = std::string_view(write.bytes).substr(i, chunk_bytes);
      size_t& position = at[static_cast<size_t>(write.direction)];
      const size_t begin = position, end = position += bytes.size();
      size_t gap_begin = begin, gap_end = begin;
      if (write.direction == hole.direction) {
        gap_begin = std::clamp(hole.from, begin, end);
        gap_end = std::clamp(hole.from + hole.size, begin, end);
      }
      feeder.data(write.direction, bytes.substr(0, gap_begin - begin));
      feeder.lose(write.direction, gap_end - gap_begin);
      feeder.data(write.direction, bytes.substr(gap_end - begin));
    }
  feeder.close();
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    const Connection& c = feeder.connection();
    if (c.ledger(direction).total() != c.position(direction) - c.origin(direction)) std::abort();
  }
  if (feeder.connection().session().memory_bytes() > kSessionBytesMax) std::abort();
  return feeder.recorder.lines;
}

// Chunk: direction and size in one byte, then that many bytes.
Script wire_script(std::span<const uint8_t> input) {
  Script script;
  while (!input.empty()) {
    const Direction direction = (input[0] & 1) != 0 ? Direction::kResponse : Direction::kRequest;
    const size_t size = std::min<size_t>(input[0] >> 1, input.size() - 1);
    script.push_back({direction, std::string(reinterpret_cast<const char*>(input.data() + 1), size)});
    input = input.subspan(1 + size);
  }
  return script;
}

// One client step per two bytes. The server keeps the names, and answers as a server would.
class Honest {
 public:
  Script run(std::span<const uint8_t> program) {
    script_ = {client(startup({"user", "u"})), server(welcome())};
    for (size_t i = 0; i + 1 < program.size() && script_.size() < 120; i += 2) step(program[i], program[i + 1]);
    flush_cycle();
    script_.push_back(client(terminate()));
    return script_;
  }

 private:
  void step(uint8_t action, uint8_t argument) {
    const std::string name = argument % 3 == 0 ? "" : "s" + std::to_string(argument % 3);
    const std::string text = "SELECT " + std::to_string(++serial_) + std::string(argument % 7, ' ');
    switch (action % 10) {
      case 0:
        return simple(text, row_description() + data_row(std::string(argument, 'Z')) + complete("SELECT 1"));
      case 1:
        return simple(text, error("22012"));
      case 2:
        return simple("BEGIN; " + text + "; COMMIT", complete("BEGIN") + complete("SELECT 0") + complete("COMMIT"));
      case 3:
        return simple("PREPARE s1 AS " + text, statements_[1] ? error("42P05") : complete("PREPARE"), &statements_[1]);
      case 4:
        return simple("EXECUTE s1", statements_[1] ? complete("SELECT 3") : error("26000"));
      case 5:
        return extended(parse(name, text), 'P', argument % 3);
      case 6:
        return extended(bind("", name, {text}) + execute(), 'E', argument % 3);
      case 7:
        return extended(close('S', name), 'C', argument % 3);
      case 8:
        return flush_cycle();
      default:
        flush_cycle();
        script_.push_back(client(query("COPY t FROM STDIN")));
        script_.push_back(server(copy_response('G')));
        script_.push_back(client(copy_data(std::string(argument, 'Q')) + copy_done()));
        script_.push_back(server(complete("COPY 1") + ready()));
    }
  }
  void simple(const std::string& sql, const std::string& answer, bool* makes = nullptr) {
    flush_cycle();
    if (makes != nullptr) *makes = true;
    statements_[0] = false;
    script_.push_back(client(query(sql)));
    script_.push_back(server(answer + ready()));
  }
  void extended(const std::string& frames, char kind, size_t name) {
    requests_ += frames;
    if (has_failed_) return;
    bool& exists = statements_[name];
    if (kind == 'P') {
      has_failed_ = exists && name != 0;
      exists = true;
      answers_ += has_failed_ ? error("42P05") : parse_complete();
    } else if (kind == 'E') {
      has_failed_ = !exists;
      answers_ += has_failed_ ? error("26000") : bind_complete() + data_row("x") + complete("SELECT 1");
    } else {
      exists = false;
      answers_ += close_complete();
    }
  }
  void flush_cycle() {
    if (requests_.empty()) return;
    script_.push_back(client(requests_ + test::sync()));
    script_.push_back(server(answers_ + ready()));
    requests_.clear();
    answers_.clear();
    has_failed_ = false;
  }

  Script script_;
  std::string requests_, answers_;
  std::array<bool, 3> statements_{};
  bool has_failed_ = false;
  size_t serial_ = 0;
};

void check_program(std::span<const uint8_t> input) {
  if (input.size() < 6) return;
  const Hole hole{.direction = (input[0] & 1) != 0 ? Direction::kResponse : Direction::kRequest,
                  .from = static_cast<size_t>(input[1] | input[2] << 8) % 4096,
                  .size = 1 + static_cast<size_t>(input[3]) * (1 + input[0] / 64)};
  const size_t chunk_bytes = input[4] < 128 ? size_t{1} << 20 : 1 + static_cast<size_t>(input[4] % 32);
  const Script script = Honest().run(input.subspan(5));
  const auto all = play(script, 1 << 20, {});
  auto from = all.begin();
  for (const std::string& line : play(script, chunk_bytes, hole)) {
    if (line.ends_with(']') || line.starts_with("disconnect")) continue;
    const bool is_open = line.ends_with("tx=?");
    const std::string known = is_open ? line.substr(0, line.size() - 1) : line;
    from = std::find_if(from, all.end(),
                        [&](const std::string& l) { return is_open ? l.starts_with(known) : l == known; });
    if (from == all.end()) std::abort();
    ++from;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::span input{data + 1, size - 1};
  if ((data[0] & 1) != 0) {
    check_program(input);
    return 0;
  }
  const Script script = wire_script(input);
  // Where writes end is a fact that safe points rest on, so only sessions without loss are held to this.
  Script joined;
  for (const Write& write : script) {
    if (!joined.empty() && joined.back().direction == write.direction) {
      joined.back().bytes += write.bytes;
    } else {
      joined.push_back(write);
    }
  }
  const auto whole = play(joined, 1 << 20, {});
  const auto parts = play(joined, 1 + data[0] / 16, {});
  const auto is_marked = [](const std::string& line) { return line.ends_with(']'); };
  if (std::ranges::none_of(whole, is_marked) && std::ranges::none_of(parts, is_marked) && whole != parts) std::abort();
  return 0;
}
