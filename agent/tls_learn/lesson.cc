// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/lesson.h"

#include <unwind.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/tls_learn/handshake.h"
#include "agent/tls_learn/instructions.h"
#include "agent/tls_learn/trap.h"

namespace gatehouse::tls_learn {
namespace {

constexpr std::array kWanted{std::string_view("CLIENT_TRAFFIC_SECRET_0"), std::string_view("SERVER_TRAFFIC_SECRET_0"),
                             std::string_view("CLIENT_RANDOM")};
constexpr size_t kSecretBytesMin = 32;  // of the shortest hash that TLS 1.3 has
constexpr size_t kFramesMax = 32;
// How far a session's object reaches, and what it points to: today's are about 0x1c00 bytes.
constexpr size_t kObjectBytesMax = 0x3000;
constexpr size_t kPartBytesMax = 0x1000;
constexpr size_t kCandidatesMax = 64;
constexpr size_t kHitsMax = 256;
constexpr size_t kWaysTriedMax = 8;

// What a breakpoint saw: the registers and what they point to.
struct Hit {
  Registers registers{};
  std::array<std::array<uint8_t, 48>, kRegisters> pointed{};
  std::array<bool, kRegisters> is_readable{};
};

// Where client_random is, from a register.
struct Way {
  uint8_t object = 0;
  size_t path_count = 0;
  std::array<int32_t, Place::kPathMax> path{};
};

// The library calls back without an argument of ours.
struct Learning {
  const Library* library = nullptr;
  // First pass: functions on the stack of every wanted call, innermost first.
  std::vector<uintptr_t> functions;
  bool has_functions = false;
  // Second pass.
  bool is_matching = false;
  bool has_hit = false;
  Hit hit;
  size_t calls = 0, missed = 0;
  uint32_t labels = 0, secrets = 0;  // registers that fit each call, as bits
  std::vector<Way> ways;
  bool has_ways = false;
  // The check.
  std::vector<Hit> hits;
};
Learning g_learning;

bool is_wanted(std::string_view label) {
  return std::ranges::find(kWanted, label) != kWanted.end();
}

void note_hit(const Registers& registers) {
  Hit& hit = g_learning.hit;
  hit.registers = registers;
  for (size_t i = 0; i < kRegisters; ++i) hit.is_readable[i] = read_memory(registers[i], hit.pointed[i]);
  g_learning.has_hit = true;
}

void keep_hit(const Registers& registers) {
  if (g_learning.hits.size() == kHitsMax) return;
  note_hit(registers);
  g_learning.hits.push_back(g_learning.hit);
}

// The function that was called before `address`, where it was called by its place.
uintptr_t called_before(uintptr_t address) {
  static constexpr size_t kCallBytes = 5;
  const Text* const text = g_learning.library->text_at(address);
  if (text == nullptr || address - text->begin < kCallBytes) return 0;
  const auto* const code = reinterpret_cast<const uint8_t*>(address - kCallBytes);
  int32_t distance = 0;
  std::memcpy(&distance, code + 1, sizeof(distance));
  return code[0] == 0xe8 ? address + static_cast<uintptr_t>(static_cast<intptr_t>(distance)) : 0;
}

// The functions on the stack, and those that were called there but have given way to another by a jump at their end.
_Unwind_Reason_Code note_frame(_Unwind_Context* frame, void* data) {
  auto& functions = *static_cast<std::vector<uintptr_t>*>(data);
  for (const uintptr_t function : {called_before(_Unwind_GetIP(frame)), uintptr_t{_Unwind_GetRegionStart(frame)}})
    if (function != 0 && g_learning.library->text_at(function) != nullptr &&
        std::ranges::find(functions, function) == functions.end())
      functions.push_back(function);
  return functions.size() < kFramesMax ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void note_functions() {
  std::vector<uintptr_t> functions;
  _Unwind_Backtrace(note_frame, &functions);
  if (!g_learning.has_functions) {
    g_learning.functions = functions;
    g_learning.has_functions = true;
    return;
  }
  std::erase_if(g_learning.functions,
                [&](uintptr_t one) { return std::ranges::find(functions, one) == functions.end(); });
}

// Where `wanted` stands in the bytes from `address` on: offsets.
std::vector<int32_t> find_bytes(uintptr_t address, size_t bytes_max, std::span<const uint8_t> wanted) {
  static constexpr size_t kPage = 4096;
  std::vector<uint8_t> memory(bytes_max);
  size_t bytes = 0;
  while (bytes < bytes_max) {  // as far as it goes
    const size_t take = std::min(bytes_max - bytes, kPage - (address + bytes) % kPage);
    if (!read_memory(address + bytes, std::span{memory}.subspan(bytes, take))) break;
    bytes += take;
  }
  std::vector<int32_t> found;
  for (size_t at = 0; at + wanted.size() <= bytes; at += 4)
    if (std::memcmp(memory.data() + at, wanted.data(), wanted.size()) == 0) found.push_back(static_cast<int32_t>(at));
  return found;
}

std::optional<uintptr_t> follow(const Way& way, const Registers& registers) {
  uintptr_t at = registers[way.object];
  for (size_t i = 0; i < way.path_count; ++i) {
    if (i > 0 && !read_memory(at, {reinterpret_cast<uint8_t*>(&at), sizeof(at)})) return std::nullopt;
    at += static_cast<uintptr_t>(static_cast<intptr_t>(way.path[i]));
  }
  return at;
}

bool leads_to(const Way& way, const Registers& registers, const Random& random) {
  Random found{};
  const auto at = follow(way, registers);
  return at && read_memory(*at, found) && found == random;
}

// Directly in what a register points to, or in what that points to.
std::vector<Way> find_ways(const Registers& registers, const Random& random) {
  std::vector<Way> ways;
  for (uint8_t r = 0; r < kRegisters; ++r) {
    for (const int32_t offset : find_bytes(registers[r], kObjectBytesMax, random))
      ways.push_back({.object = r, .path_count = 1, .path = {offset}});
  }
  for (uint8_t r = 0; r < kRegisters; ++r) {
    if (std::find(registers.begin(), registers.begin() + r, registers[r]) != registers.begin() + r) continue;
    for (int32_t step = 0; step < static_cast<int32_t>(kObjectBytesMax); step += 8) {
      uintptr_t part = 0;
      if (!read_memory(registers[r] + static_cast<uintptr_t>(step), {reinterpret_cast<uint8_t*>(&part), sizeof(part)}))
        break;
      if (part < 4096 || part % 8 != 0) continue;
      for (const int32_t offset : find_bytes(part, kPartBytesMax, random))
        if (ways.size() < kCandidatesMax) ways.push_back({.object = r, .path_count = 2, .path = {step, offset}});
    }
  }
  return ways;
}

std::vector<uint8_t> from_hex(std::string_view text) {
  std::vector<uint8_t> bytes;
  const auto digit = [](char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10); };
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  return bytes;
}

// Which registers held what the library now tells.
void match_hit(const Ssl* ssl, std::string_view label, std::span<const uint8_t> secret) {
  Learning& l = g_learning;
  ++l.calls;
  if (!std::exchange(l.has_hit, false)) {
    ++l.missed;
    return;
  }
  uint32_t labels = 0, secrets = 0;
  for (size_t i = 0; i < kRegisters; ++i) {
    if (!l.hit.is_readable[i]) continue;
    const auto& bytes = l.hit.pointed[i];
    if (std::memcmp(bytes.data(), label.data(), label.size()) == 0 && bytes[label.size()] == 0) labels |= 1U << i;
    if (std::equal(secret.begin(), secret.begin() + std::min<ptrdiff_t>(std::ssize(secret), 48), bytes.begin()))
      secrets |= 1U << i;
  }
  l.labels &= labels;
  l.secrets &= secrets;
  if (l.labels == 0 || l.secrets == 0) return;  // the search for the rest is long
  Random random{};
  l.library->SSL_get_client_random(ssl, random.data(), random.size());
  if (!std::exchange(l.has_ways, true)) l.ways = find_ways(l.hit.registers, random);
  std::erase_if(l.ways, [&](const Way& way) { return !leads_to(way, l.hit.registers, random); });
}

// "LABEL client_random secret", the latter in hexadecimal digits.
void on_log(const Ssl* ssl, const char* text) {
  const std::string_view line(text);
  const std::string_view label = line.substr(0, line.find(' '));
  if (!is_wanted(label) || label.size() == line.size()) {
    g_learning.has_hit = false;
    return;
  }
  if (!g_learning.is_matching) return note_functions();
  const std::vector<uint8_t> secret = from_hex(line.substr(line.rfind(' ') + 1));
  if (secret.size() >= kSecretBytesMin) match_hit(ssl, label, secret);
}

bool shake_hands(const Library& library, Library::KeyLog log) {
  for (const auto version : {Library::Version::kTls13, Library::Version::kTls12})
    if (!Handshake(library, version, log).run()) return false;
  return true;
}

// What the registers at `address` tell, the likeliest first. None: they do not.
std::vector<Place> match_places(const Library& library, uintptr_t address) {
  Learning& l = g_learning;
  l = Learning();
  l.library = &library;
  l.is_matching = true;
  l.labels = l.secrets = UINT32_MAX;
  {
    const Trap trap(address, note_hit);
    if (!trap.is_set() || !shake_hands(library, on_log)) return {};
  }
  std::vector<Place> places;
  if (l.calls == 0 || l.missed > 0 || l.labels == 0 || l.secrets == 0) return places;
  // The nearest: what a register points to itself is no matter of an object's layout.
  std::ranges::sort(l.ways, {}, [](const Way& one) { return std::pair(one.path_count, one.path); });
  for (const Way& way : l.ways) {
    if (places.size() == kWaysTriedMax) break;
    places.push_back({.label = static_cast<uint8_t>(__builtin_ctz(l.labels)),
                      .secret = static_cast<uint8_t>(__builtin_ctz(l.secrets)),
                      .object = way.object,
                      .path_count = way.path_count,
                      .path = way.path});
  }
  return places;
}

// What a probe at the place tells of one handshake: secrets in the order of kWanted, of both ends one after the other.
struct Told {
  std::array<std::vector<std::array<uint8_t, 48>>, kWanted.size()> secrets;
  bool is_of_session = true;  // each with the session's own client_random
};

Told told_at(const Place& place, const Random& random) {
  Told told;
  const Way way{.object = place.object, .path_count = place.path_count, .path = place.path};
  for (const Hit& hit : g_learning.hits) {
    const auto& text = hit.pointed[place.label];
    for (size_t i = 0; i < kWanted.size(); ++i) {
      if (std::memcmp(text.data(), kWanted[i].data(), kWanted[i].size() + 1) != 0) continue;
      told.secrets[i].push_back(hit.pointed[place.secret]);
      told.is_of_session = told.is_of_session && leads_to(way, hit.registers, random);
    }
  }
  return told;
}

bool is_pair(const std::vector<std::array<uint8_t, 48>>& secrets, size_t bytes) {
  return secrets.size() == 2 &&
         std::equal(secrets[0].begin(), secrets[0].begin() + static_cast<ptrdiff_t>(bytes), secrets[1].begin());
}

// Handshakes of which nobody has asked for a log: a probe there would have told what opens them.
bool check_place(const Library& library, const Place& place, uintptr_t address, Library::Version version) {
  Learning& l = g_learning;
  l = Learning();
  l.library = &library;
  const Trap trap(address, keep_hit);
  if (!trap.is_set()) return false;
  SslSession* session = nullptr;
  bool is_right = true;
  for (const bool is_resumed : {false, true}) {
    l.hits.clear();
    Handshake handshake(library, version, nullptr, session);
    if (!handshake.run()) return false;
    // The master key is compared while the session is there; what is read of the client's random number, too.
    const Told told = told_at(place, handshake.client_random());
    is_right = is_right && told.is_of_session;
    if (version == Library::Version::kTls13)
      is_right = is_right && is_pair(told.secrets[0], kSecretBytesMin) && is_pair(told.secrets[1], kSecretBytesMin);
    else
      is_right = is_right && is_pair(told.secrets[2], 48) && told.secrets[2][0] == handshake.master_key();
    if (session != nullptr) library.SSL_SESSION_free(session);
    session = is_resumed ? nullptr : handshake.session();
  }
  return is_right;
}

}  // namespace

std::optional<Place> learn_place(const Library& library, std::string& why) {
  g_learning = Learning();
  g_learning.library = &library;
  if (!shake_hands(library, on_log)) {
    why = "it does not shake hands with itself";
    return std::nullopt;
  }
  const std::vector<uintptr_t> functions = g_learning.functions;
  if (functions.empty()) {
    why = "its log of secrets names no function";
    return std::nullopt;
  }
  for (const uintptr_t function : functions) {
    const Text& text = *library.text_at(function);
    const std::span code{reinterpret_cast<const uint8_t*>(function), text.end - function};
    for (const size_t offset : probe_places(code)) {
      const uintptr_t address = function + offset;
      for (Place place : match_places(library, address)) {
        place.offset = text.offset + (address - text.begin);
        place.is_emulated = decode(code.subspan(offset)).is_emulated;
        if (check_place(library, place, address, Library::Version::kTls13) &&
            check_place(library, place, address, Library::Version::kTls12))
          return place;
      }
    }
  }
  why = "no function of it is told every secret";
  return std::nullopt;
}

}  // namespace gatehouse::tls_learn
