// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/blocks.h"

#include <array>
#include <string_view>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gatehouse::mask {
namespace {

__extension__ using uint128 = unsigned __int128;

// What begins a key or a word, three bytes each; '?' is any capital letter. Eight sets, one bit each: a vector look
// takes any first byte of a set with any second and third one of the same set, so alike ones stand together.
constexpr std::array<std::string_view, 8> kLiterals = {
    "AKI ASI ABI ACC AIz Acc", "ghp gho ghu ghs ghr git glp", "xox xap sk_ rk_ sk- shp", "ya2 eyJ", "--B P<?",
    "npm hf_ hvs hoo",         "SG. NRA PMA PAS Pas pas",     "dop dck lin pyp rub"};

struct Tables {
  std::array<std::array<uint8_t, 256>, 3> sets{};  // by place, by byte: the sets it may stand in
  // The same by the halves of a byte: the sets that have a byte with such a half.
  std::array<std::array<uint8_t, 16>, 3> low{}, high{};
};

constexpr Tables make_tables() {
  Tables tables;
  for (size_t set = 0; set < kLiterals.size(); ++set) {
    for (size_t i = 0; i + 3 <= kLiterals[set].size(); i += 4) {
      for (size_t place = 0; place < 3; ++place) {
        const char c = kLiterals[set][i + place];
        const char first = c == '?' ? 'A' : c, last = c == '?' ? 'Z' : c;
        for (int byte = first; byte <= last; ++byte) {
          const auto bit = static_cast<uint8_t>(1u << set);
          const auto index = static_cast<size_t>(byte);
          tables.sets[place][index] = static_cast<uint8_t>(tables.sets[place][index] | bit);
          tables.low[place][index & 15] = static_cast<uint8_t>(tables.low[place][index & 15] | bit);
          tables.high[place][index >> 4] = static_cast<uint8_t>(tables.high[place][index >> 4] | bit);
        }
      }
    }
  }
  return tables;
}
alignas(64) constexpr Tables kTables = make_tables();

uint64_t literals(const char* text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  uint64_t bits = 0;
  for (size_t i = 0; i < kBlockBytes; ++i) {
    const unsigned hit = kTables.sets[0][byte(i)] & kTables.sets[1][byte(i + 1)] & kTables.sets[2][byte(i + 2)];
    bits |= uint64_t{hit != 0} << i;
  }
  return bits;
}

void classify_portable(const char* text, size_t blocks, Block* out) {
  for (size_t k = 0; k < blocks; ++k, text += kBlockBytes) {
    Block block{};
    block.literal = literals(text);
    for (size_t i = 0; i < kBlockBytes; ++i) {
      const char c = text[i];
      block.digit |= uint64_t{c >= '0' && c <= '9'} << i;
      block.separator |= uint64_t{c == ' ' || c == '-' || c == '.' || c == '/'} << i;
      block.at |= uint64_t{c == '@'} << i;
      block.colon |= uint64_t{c == ':'} << i;
      block.upper |= uint64_t{c >= 'A' && c <= 'Z'} << i;
    }
    out[k] = block;
  }
}

#if defined(__x86_64__)

void classify_sse2(const char* text, size_t blocks, Block* out) {
  const auto within = [](__m128i bytes, char first, char count) {
    // An unsigned comparison is a signed one after both are moved down by 128.
    const __m128i moved = _mm_sub_epi8(bytes, _mm_set1_epi8(static_cast<char>(first ^ '\x80')));
    return _mm_cmplt_epi8(moved, _mm_set1_epi8(static_cast<char>(count ^ '\x80')));
  };
  for (size_t k = 0; k < blocks; ++k, text += kBlockBytes) {
    Block block{};
    for (unsigned part = 0; part < 4; ++part) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + size_t{part} * 16));
      const auto bits = [part](__m128i found) {
        return uint64_t{static_cast<unsigned>(_mm_movemask_epi8(found))} << (16 * part);
      };
      block.digit |= bits(within(bytes, '0', 10));
      // - . / stand in a row.
      block.separator |= bits(_mm_or_si128(within(bytes, '-', 3), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '))));
      block.at |= bits(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('@')));
      block.colon |= bits(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(':')));
      block.upper |= bits(within(bytes, 'A', 26));
    }
    block.literal = literals(text);
    out[k] = block;
  }
}

#define GH_AVX2 __attribute__((target("avx2"), always_inline)) inline

GH_AVX2 __m256i table_of(const std::array<uint8_t, 16>& from) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(&from)));
}
GH_AVX2 __m256i load(const char* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
GH_AVX2 __m256i within(__m256i bytes, char first, char count) {
  const __m256i moved = _mm256_sub_epi8(bytes, _mm256_set1_epi8(static_cast<char>(first ^ '\x80')));
  return _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(count ^ '\x80')), moved);
}
GH_AVX2 __m256i sets_of(__m256i bytes, __m256i low, __m256i high) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i upper_half = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
  return _mm256_and_si256(_mm256_shuffle_epi8(low, _mm256_and_si256(bytes, nibble)),
                          _mm256_shuffle_epi8(high, upper_half));
}
GH_AVX2 uint64_t bits_of(__m256i found, unsigned part) {
  return uint64_t{static_cast<uint32_t>(_mm256_movemask_epi8(found))} << (32 * part);
}

__attribute__((target("avx2"))) void classify_avx2(const char* text, size_t blocks, Block* out) {
  const __m256i low0 = table_of(kTables.low[0]), low1 = table_of(kTables.low[1]), low2 = table_of(kTables.low[2]);
  const __m256i high0 = table_of(kTables.high[0]), high1 = table_of(kTables.high[1]), high2 = table_of(kTables.high[2]);
  const __m256i zero = _mm256_setzero_si256();
  for (size_t k = 0; k < blocks; ++k, text += kBlockBytes) {
    Block block{};
    for (unsigned part = 0; part < 2; ++part) {
      const char* at = text + size_t{part} * 32;
      const __m256i bytes = load(at);
      block.digit |= bits_of(within(bytes, '0', 10), part);
      block.separator |=
          bits_of(_mm256_or_si256(within(bytes, '-', 3), _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' '))), part);
      block.at |= bits_of(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('@')), part);
      block.colon |= bits_of(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(':')), part);
      block.upper |= bits_of(within(bytes, 'A', 26), part);
      const __m256i hit =
          _mm256_and_si256(_mm256_and_si256(sets_of(bytes, low0, high0), sets_of(load(at + 1), low1, high1)),
                           sets_of(load(at + 2), low2, high2));
      block.literal |= bits_of(_mm256_xor_si256(_mm256_cmpeq_epi8(hit, zero), _mm256_set1_epi8(-1)), part);
    }
    out[k] = block;
  }
}
#undef GH_AVX2

#endif

}  // namespace

Instructions instructions() {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 ? Instructions::kAvx2 : Instructions::kSse2;
#else
  return Instructions::kPortable;
#endif
}

Classify classify_by(Instructions instructions) {
#if defined(__x86_64__)
  if (instructions == Instructions::kAvx2) return classify_avx2;
  if (instructions == Instructions::kSse2) return classify_sse2;
#else
  static_cast<void>(instructions);
#endif
  return classify_portable;
}

Triggers triggers_of(const Block& before, const Block& block, const Block& after) {
  const auto wide = [](uint64_t low, uint64_t high) { return static_cast<uint128>(high) << 64 | low; };
  const uint128 digit = wide(block.digit, after.digit);
  const uint128 separator = wide(block.separator, after.separator);
  const uint128 left_digit = digit << 1 | (before.digit >> 63);
  const uint128 run = digit | (separator & left_digit & digit >> 1);
  const uint128 run2 = run & run >> 1, run4 = run2 & run2 >> 2, run7 = run4 & run4 >> 3;

  Triggers triggers{.at = block.at, .literal = block.literal};
  triggers.run = static_cast<uint64_t>(run7);
  triggers.run_at_end = (triggers.run >> 63) != 0;

  if ((block.colon & (block.colon - 1)) != 0 || (block.colon != 0 && after.colon != 0)) {
    const uint128 colon = wide(block.colon, after.colon);
    const auto near = [](uint128 bits) { return bits >> 1 | bits >> 2 | bits >> 3 | bits >> 4 | bits >> 5; };
    const uint128 twice = colon & near(colon);
    triggers.colons = static_cast<uint64_t>((twice & near(twice)) | (colon & colon >> 1));
  }
  if (block.upper != 0) {
    const uint128 upper = wide(block.upper, after.upper);
    const uint128 upper2 = upper & upper >> 1, digit2 = digit & digit >> 1, digit4 = digit2 & digit2 >> 2;
    const uint128 codice = upper & digit2 >> 1 & upper >> 3 & digit2 >> 4 & upper >> 6;
    const uint128 pair_and_six = upper2 & digit4 >> 2 & digit2 >> 6;
    const uint128 five_and_four = upper2 & upper2 >> 2 & upper >> 4 & digit4 >> 5 & upper >> 9;
    triggers.mixed = static_cast<uint64_t>(codice | pair_and_six | five_and_four);
  }
  return triggers;
}

}  // namespace gatehouse::mask
