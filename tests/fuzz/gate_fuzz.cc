// SPDX-License-Identifier: Apache-2.0
// Two ways to use the input, by its first byte.
//
//   even  Any bytes in both directions through a gate that releases all. What has gone out is what it took.
//   odd   A client's program against a server that answers what comes to it, and keeps its answers until it must give
//         them, as servers do. Texts with a certain word are refused. None of them reaches the server; the client gets
//         a ReadyForQuery for each Sync; nothing waits for ever; and the record tells the same
//         as the gate does.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "common/limits.h"
#include "tests/support/gate_host.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::test;

constexpr std::string_view kForbidden = "FORBID";
constexpr size_t kMemoryBytesMax = kSessionBytesMax + (1U << 20);

void require(bool claim) {
  if (!claim) std::abort();
}

void check(const GateEnds& ends) {
  require(ends.wrong.empty());
  require(ends.memory_bytes_max <= kMemoryBytesMax);
  require(ends.ended.has_value() == ends.gate.is_ended());
}

void check_bytes(std::span<const uint8_t> input) {
  GateEnds ends;
  std::array<std::string, kDirections> given;
  const auto give = [&](Direction direction, const std::string& bytes) {
    given[static_cast<size_t>(direction)] += bytes;
    ends.give(direction, bytes);
  };
  if (!input.empty() && (input[0] & 1) != 0) {
    give(Direction::kRequest, startup({"user", "u"}));
    give(Direction::kResponse, welcome());
  }
  if (!input.empty()) input = input.subspan(1);
  while (!input.empty()) {
    const Direction direction = (input[0] & 1) != 0 ? Direction::kResponse : Direction::kRequest;
    const size_t size = std::min<size_t>(input[0] >> 1, input.size() - 1);
    give(direction, std::string(reinterpret_cast<const char*>(input.data() + 1), size));
    input = input.subspan(1 + size);
  }
  for (const size_t d : {size_t{0}, size_t{1}}) {
    // A malformed request has another in its place.
    if (!ends.ended && ends.refused.empty())
      require(given[d] == ends.sent[d] + ends.pending[d] || (d == 0 && ends.gate.is_terminated()));
    // A message of the gate's own may be the last.
    require(given[d].starts_with(ends.sent[d]) || ends.ended || !ends.refused.empty());
  }
  ends.close(Direction::kRequest);
  ends.close(Direction::kResponse);
  check(ends);
}

// Answers as a server of that protocol does. Not the oracle for what servers do: that is tests/gate.
class Answering {
 public:
  // What it says to what has come to it; all at once where something makes it.
  std::string take(std::string_view bytes) {
    in_ += bytes;
    while (in_.size() >= 5) {
      size_t size = 1;
      for (size_t i = 1; i < 5; ++i) size += static_cast<size_t>(static_cast<unsigned char>(in_[i])) << (8 * (4 - i));
      if (in_.size() < size) break;
      answer(in_[0], in_.substr(5, size - 5));
      in_.erase(0, size);
    }
    std::string said = out_.substr(0, told_);
    out_.erase(0, told_);
    told_ = 0;
    return said;
  }

 private:
  void say(const std::string& message) { out_ += message; }
  void tell() { told_ = out_.size(); }
  void fail() {
    say(error("42601"));
    tell();
  }
  static bool is_bad(std::string_view sql) { return sql.starts_with("gatehouse") || sql.starts_with("BAD"); }
  void finish() {
    say(ready());
    tell();
  }
  void answer(char tag, const std::string& body) {
    if (copies_) return copy(tag);
    if (tag == 'S') {
      is_skipping_ = false;
      return finish();
    }
    if (is_skipping_ || tag == 'd' || tag == 'c' || tag == 'f' || tag == 'X') return;
    if (tag == 'H') return tell();
    if (tag == 'Q') return simple(body.c_str());
    if (tag == 'F') {
      body.substr(0, 4) == std::string(4, '\0') ? fail() : say(frame('V', be32(0xffffffff)));
      return finish();
    }
    if (!extended(tag, body)) {
      fail();
      is_skipping_ = true;
    }
  }
  void simple(const std::string& sql) {
    statements_.erase("");
    if (is_bad(sql)) {
      fail();
    } else if (sql == "COPY") {
      say(copy_response('G'));
      copies_ = true;
      return tell();
    } else {
      say(complete("OK 1"));
    }
    finish();
  }
  void copy(char tag) {
    if (tag == 'd' || tag == 'S' || tag == 'H') return;
    copies_ = false;
    tag == 'c' ? say(complete("COPY 1")) : fail();
    finish();
  }
  bool extended(char tag, const std::string& body) {
    const std::string first = body.c_str();
    const std::string second = body.size() > first.size() ? body.substr(first.size() + 1).c_str() : "";
    switch (tag) {
      case 'P':
        if (is_bad(second)) return false;
        statements_[first] = second;
        say(parse_complete());
        return true;
      case 'B':
        if (!statements_.contains(second)) return false;
        portals_[first] = statements_[second];
        say(bind_complete());
        return true;
      case 'E':
        if (!portals_.contains(first)) return false;
        // What runs was let through.
        require(portals_[first].find(kForbidden) == std::string::npos);
        say(data_row("x") + complete("OK 1"));
        return true;
      case 'C':
        (first[0] == 'S' ? statements_ : portals_).erase(first.substr(1));
        say(close_complete());
        return true;
      default:
        say(first[0] == 'S' ? parameter_description({}) + no_data() : no_data());
        return true;
    }
  }

  std::string in_, out_;
  size_t told_ = 0;
  std::map<std::string, std::string> statements_, portals_;
  bool is_skipping_ = false, copies_ = false;
};

std::string request_of(uint8_t action, uint8_t argument) {
  const std::string name = argument % 3 == 0 ? "" : "n" + std::to_string(argument % 3);
  constexpr std::array<std::string_view, 5> kTexts{"SELECT 1", "SET a", "BAD", "FORBID it", "PREPARE n1 AS FORBID"};
  const std::string_view text = kTexts[argument / 3 % kTexts.size()];
  switch (action % 12) {
    case 0:
      return query(text);
    case 1:
      return query(argument % 4 == 0 ? "EXECUTE n1" : "SELECT 1; EXECUTE n2");
    case 2:
    case 3:
      return parse(name, text);
    case 4:
    case 5:
      return test::bind(name, argument % 2 == 0 ? name : "");
    case 6:
    case 7:
      return execute(name);
    case 8:
      return test::close(argument % 2 == 0 ? 'S' : 'P', name);
    case 9:
      return describe(argument % 2 == 0 ? 'S' : 'P', name);
    case 10:
      return argument % 4 == 0 ? flush() : test::sync();
    default:
      return argument % 4 == 0 ? function_call(argument % 8, {}) : argument % 4 == 1 ? copy_data("x") : query("COPY");
  }
}

size_t count_ready(std::string_view bytes) {
  size_t count = 0;
  for (size_t at = 0; at + 5 <= bytes.size();) {
    size_t size = 1;
    for (size_t i = 1; i < 5; ++i)
      size += static_cast<size_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * (4 - i));
    count += bytes[at] == 'Z';
    at += size;
  }
  return count;
}

// A gate tells of what changes the session's state before what follows it has told the transaction's.
std::vector<std::string> without_state(std::vector<std::string> lines) {
  for (std::string& line : lines)
    if (const size_t at = line.find(" tx="); at != line.npos) line.erase(at, 5);
  return lines;
}

void check_program(std::span<const uint8_t> input) {
  if (input.size() < 2) return;
  const size_t chunk = input[0] < 128 ? SIZE_MAX : 1 + size_t{input[0]} % 32;
  const bool holds = (input[1] & 1) != 0, lags = (input[1] & 2) != 0;
  GateEnds ends;
  uint64_t held = UINT64_MAX;
  ends.rule = [&](const Activity& request, Purpose) -> Ruling {
    if (holds && request.kind == ActivityKind::kStatement && request.request_offset % 3 == 0 &&
        std::exchange(held, request.request_offset) != request.request_offset)
      return {.kind = Ruling::Kind::kWait};
    const bool is_forbidden = request.text.find(kForbidden) != request.text.npos ||
                              request.resolved_text.find(kForbidden) != request.resolved_text.npos;
    const bool changes = request.text.starts_with("SET") || request.text.starts_with("PREPARE");
    return {.kind = is_forbidden ? Ruling::Kind::kRefuse : Ruling::Kind::kRelease, .changes_state = changes};
  };
  Answering server;
  size_t sent = 0;
  const auto serve = [&] {
    for (size_t before = SIZE_MAX; before != ends.up().size() + ends.down().size();) {
      before = ends.up().size() + ends.down().size();
      ends.gate.resume();
      ends.pump();
      const std::string news = ends.up().substr(sent);
      sent += news.size();
      if (const std::string said = server.take(news); !said.empty()) ends.give(Direction::kResponse, said);
    }
  };
  ends.give(Direction::kRequest, startup({"user", "u"}));
  sent = ends.up().size();
  ends.give(Direction::kResponse, welcome());
  size_t syncs = 1;
  std::string all;
  // The model drops what comes in a COPY, so such a program ends with it.
  bool is_copy = false;
  for (size_t i = 2; i + 1 < input.size() && i < 400; i += 2) {
    const std::string request = request_of(input[i], input[i + 1]);
    is_copy = is_copy || request == query("COPY");
    syncs += request == test::sync();
    all += request;
  }
  if (is_copy) all += copy_done();
  all += test::sync();
  for (std::string_view rest = all; !rest.empty(); rest.remove_prefix(std::min(chunk, rest.size()))) {
    ends.give(Direction::kRequest, rest.substr(0, chunk));
    if (!lags) serve();
  }
  serve();
  require(ends.up().find(kForbidden) == std::string::npos);
  if (!ends.ended && !is_copy) {
    require(ends.pending[0].empty() && !ends.gate.is_waiting() && ends.gate.is_idle());
    // One for each Sync at least: Query and FunctionCall may be passed over.
    require(count_ready(ends.down()) >= syncs + 1);
  }
  require(!ends.ended || is_copy);
  ends.close(Direction::kRequest);
  ends.close(Direction::kResponse);
  ends.feeder.close();
  require(without_state(ends.recorded()) == without_state(ends.activities));
  check(ends);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::span input{data + 1, size - 1};
  (data[0] & 1) != 0 ? check_program(input) : check_bytes(input);
  return 0;
}
