// SPDX-License-Identifier: Apache-2.0
// Names are the standard's: A and B are the halves, u and v their lengths, b and d numbers of bytes, P and Q the blocks
// that the round function takes, S what it gives, y S as a number.
#include "agent/mask/ff1.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "common/check.h"

namespace gatehouse::mask {
namespace {

using Block = MaskKey::Block;
__extension__ using uint128 = unsigned __int128;

constexpr size_t kTweakBytesMax = 16;
constexpr unsigned kRounds = 10;
// d = 4 * ceil(b/4) + 4 for halves of kFf1NumeralsMax / 2 numerals of a byte each.
constexpr size_t kHalfBytesMax = kFf1NumeralsMax / 2;
constexpr size_t kStreamBytesMax = kHalfBytesMax + 4 + 16;

// radix^count, or 0 if it does not fit.
constexpr uint64_t power(uint64_t radix, size_t count) {
  uint64_t product = 1;
  for (; count > 0; --count)
    if (__builtin_mul_overflow(product, radix, &product) || product > uint64_t{1} << 63) return 0;
  return product;
}

// ceil(ceil(v * log2(radix)) / 8), exactly.
size_t bytes_of_half(unsigned radix, size_t v) {
  std::array<uint32_t, kHalfBytesMax / 4 + 2> limbs{1};
  size_t used = 1;
  for (size_t i = 0; i < v; ++i) {
    uint64_t carry = 0;
    for (size_t k = 0; k < used; ++k) {
      carry += uint64_t{limbs[k]} * radix;
      limbs[k] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs[used++] = static_cast<uint32_t>(carry);
  }
  // Bits of radix^v - 1, the largest number of a half; ceil(log2) of the power itself.
  size_t bits = used * 32 - static_cast<size_t>(std::countl_zero(limbs[used - 1]));
  const bool is_power_of_two = std::popcount(limbs[used - 1]) == 1 &&
                               std::all_of(limbs.begin(), limbs.begin() + static_cast<ptrdiff_t>(used) - 1,
                                           [](uint32_t limb) { return limb == 0; });
  if (is_power_of_two) --bits;
  return (bits + 7) / 8;
}

// A half as big-endian bytes; quadratic in its length, which is bounded.
void number_of(std::span<const uint16_t> numerals, unsigned radix, std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
  for (const uint16_t numeral : numerals) {
    uint32_t carry = numeral;
    for (size_t i = out.size(); i-- > 0;) {
      carry += std::to_integer<uint32_t>(out[i]) * radix;
      out[i] = static_cast<std::byte>(carry & 0xff);
      carry >>= 8;
    }
  }
}

// `number` (big-endian; destroyed) modulo radix^count, as numerals.
void numerals_of(std::span<std::byte> number, unsigned radix, std::span<uint16_t> out) {
  size_t begin = 0;
  for (size_t k = out.size(); k-- > 0;) {
    uint32_t rest = 0;
    while (begin < number.size() && number[begin] == std::byte{0}) ++begin;
    for (size_t i = begin; i < number.size(); ++i) {
      rest = (rest << 8) | std::to_integer<uint32_t>(number[i]);
      number[i] = static_cast<std::byte>(rest / radix);
      rest %= radix;
    }
    out[k] = static_cast<uint16_t>(rest);
  }
}

template <typename Cipher>
class Ff1 {
 public:
  Ff1(const Cipher& cipher, unsigned radix, std::span<const std::byte> tweak, size_t n)
      : cipher_(cipher), radix_(radix), tweak_(tweak), n_(n), u_(n / 2), v_(n - n / 2) {
    GH_CHECK(radix >= 2 && radix <= kFf1RadixMax && ff1_takes(radix, n) && tweak.size() <= kTweakBytesMax);
    modulus_v_ = power(radix, v_);
    modulus_u_ = v_ == u_ ? modulus_v_ : modulus_v_ / radix;
    if (modulus_v_ != 0) {
      b_ = (static_cast<size_t>(std::bit_width(modulus_v_ - 1)) + 7) / 8;
    } else {
      b_ = bytes_of_half(radix, v_);
    }
    d_ = 4 * ((b_ + 3) / 4) + 4;
    // P, which is the same in each round, is encrypted once.
    p_ = {std::byte{1},
          std::byte{2},
          std::byte{1},
          std::byte{0},
          static_cast<std::byte>(radix >> 8),
          static_cast<std::byte>(radix),
          std::byte{10},
          static_cast<std::byte>(u_)};
    store_be(n, std::span{p_}.subspan(8, 4));
    store_be(tweak.size(), std::span{p_}.subspan(12, 4));
    cipher_(p_);
    // Q is the tweak, zeros, the round's number and the other half.
    q_bytes_ = (tweak.size() + 1 + b_ + 15) / 16 * 16;
    if (!tweak.empty()) std::memcpy(q_.data(), tweak.data(), tweak.size());
  }

  void run(std::span<uint16_t> numerals, bool forward) {
    if (modulus_v_ != 0) {
      run_short(numerals, forward);
    } else {
      run_long(numerals, forward);
    }
  }

 private:
  static void store_be(uint64_t number, std::span<std::byte> out) {
    for (size_t i = out.size(); i-- > 0; number >>= 8) out[i] = static_cast<std::byte>(number & 0xff);
  }

  // S for the half that stands at the end of q_.
  void round_function(unsigned round) {
    q_[q_bytes_ - b_ - 1] = static_cast<std::byte>(round);
    Block r = p_;
    for (size_t at = 0; at < q_bytes_; at += 16) {
      for (size_t i = 0; i < 16; ++i) r[i] ^= q_[at + i];
      cipher_(r);
    }
    std::memcpy(s_.data(), r.data(), 16);
    for (size_t at = 16, block = 1; at < d_; at += 16, ++block) {
      Block next = r;
      for (size_t i = 0; i < 8; ++i) next[15 - i] ^= static_cast<std::byte>(block >> (8 * i) & 0xff);
      cipher_(next);
      std::memcpy(s_.data() + at, next.data(), 16);
    }
  }

  // Both halves in a word each, y in at most 12 bytes.
  void run_short(std::span<uint16_t> numerals, bool forward) {
    uint64_t a = 0, b = 0;
    for (size_t i = 0; i < u_; ++i) a = a * radix_ + numerals[i];
    for (size_t i = u_; i < n_; ++i) b = b * radix_ + numerals[i];
    for (unsigned step = 0; step < kRounds; ++step) {
      const unsigned round = forward ? step : kRounds - 1 - step;
      const uint64_t modulus = round % 2 == 0 ? modulus_u_ : modulus_v_;
      store_be(forward ? b : a, std::span{q_}.subspan(q_bytes_ - b_, b_));
      round_function(round);
      uint128 y = 0;
      for (size_t i = 0; i < d_; ++i) y = (y << 8) | std::to_integer<unsigned>(s_[i]);
      const uint64_t rest = static_cast<uint64_t>(y % modulus);
      if (forward) {
        const uint64_t c = a >= modulus - rest ? a - (modulus - rest) : a + rest;
        a = b;
        b = c;
      } else {
        const uint64_t c = b >= rest ? b - rest : b + (modulus - rest);
        b = a;
        a = c;
      }
    }
    for (size_t i = u_; i-- > 0; a /= radix_) numerals[i] = static_cast<uint16_t>(a % radix_);
    for (size_t i = n_; i-- > u_; b /= radix_) numerals[i] = static_cast<uint16_t>(b % radix_);
  }

  void run_long(std::span<uint16_t> numerals, bool forward) {
    std::array<uint16_t, kFf1NumeralsMax> halves[2] = {};
    size_t counts[2] = {u_, v_};
    std::copy_n(numerals.begin(), u_, halves[0].begin());
    std::copy_n(numerals.begin() + static_cast<ptrdiff_t>(u_), v_, halves[1].begin());
    std::array<uint16_t, kFf1NumeralsMax> y{};
    size_t first = 0;  // of halves: A
    for (unsigned step = 0; step < kRounds; ++step) {
      const unsigned round = forward ? step : kRounds - 1 - step;
      const size_t source = forward ? 1 - first : first, target = 1 - source;
      const size_t m = round % 2 == 0 ? u_ : v_;
      GH_CHECK(counts[target] == m);
      number_of(std::span{halves[source]}.first(counts[source]), radix_, std::span{q_}.subspan(q_bytes_ - b_, b_));
      round_function(round);
      numerals_of(std::span{s_}.first(d_), radix_, std::span{y}.first(m));
      combine(std::span{halves[target]}.first(m), std::span{y}.first(m), forward);
      first = 1 - first;
    }
    std::copy_n(halves[first].begin(), counts[first], numerals.begin());
    std::copy_n(halves[1 - first].begin(), counts[1 - first], numerals.begin() + static_cast<ptrdiff_t>(counts[first]));
  }

  // half ± y modulo radix^m, numeral by numeral.
  void combine(std::span<uint16_t> half, std::span<const uint16_t> y, bool plus) const {
    int carry = 0;
    for (size_t i = half.size(); i-- > 0;) {
      int digit = plus ? half[i] + y[i] + carry : half[i] - y[i] + carry;
      carry = 0;
      if (digit >= static_cast<int>(radix_)) {
        digit -= static_cast<int>(radix_);
        carry = 1;
      } else if (digit < 0) {
        digit += static_cast<int>(radix_);
        carry = -1;
      }
      half[i] = static_cast<uint16_t>(digit);
    }
  }

  const Cipher& cipher_;
  unsigned radix_;
  std::span<const std::byte> tweak_;
  size_t n_, u_, v_;
  uint64_t modulus_u_ = 0, modulus_v_ = 0;  // radix^u, radix^v; 0: a half is longer than a word
  size_t b_ = 0, d_ = 0, q_bytes_ = 0;
  Block p_{};
  std::array<std::byte, (kTweakBytesMax + 1 + kHalfBytesMax + 15) / 16 * 16> q_{};
  std::array<std::byte, kStreamBytesMax> s_{};
};

uint64_t load_be64(const std::byte* bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return std::endian::native == std::endian::little ? __builtin_bswap64(value) : value;
}
void store_be64(std::byte* bytes, uint64_t value) {
  if (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
  std::memcpy(bytes, &value, sizeof value);
}

// Where halves fit in a word and Q is one block, which is nearly always: the same steps, with numbers instead of
// strings of bytes. The radix is a constant, so that nothing is divided by a variable but y. False: not so.
template <unsigned kRadix>
bool encrypt_quick(const MaskKey& key, std::span<const std::byte> tweak, std::span<uint16_t> numerals) {
  const size_t n = numerals.size(), u = n / 2, v = n - u;
  const uint64_t modulus_v = power(kRadix, v);
  if (modulus_v == 0) return false;
  const uint64_t modulus_u = v == u ? modulus_v : modulus_v / kRadix;
  const size_t b = (static_cast<size_t>(std::bit_width(modulus_v - 1)) + 7) / 8;
  if (tweak.size() + 1 + b > 16) return false;
  Block p = {std::byte{1},
             std::byte{2},
             std::byte{1},
             std::byte{0},
             static_cast<std::byte>(kRadix >> 8),
             static_cast<std::byte>(kRadix),
             std::byte{10},
             static_cast<std::byte>(u)};
  store_be64(p.data() + 8, uint64_t{n} << 32 | tweak.size());
  key.encrypt(p);
  uint64_t a = 0, c = 0;
  for (size_t i = 0; i < u; ++i) a = a * kRadix + numerals[i];
  for (size_t i = u; i < n; ++i) c = c * kRadix + numerals[i];
  // Q's first half in one word and its second in another; the half of b bytes ends it.
  Block fixed{};
  std::memcpy(fixed.data(), tweak.data(), tweak.size());
  const bool is_long = b > 4;  // d is 12, else 8
  for (unsigned round = 0; round < kRounds; ++round) {
    Block q = fixed;
    if (b == 8) {
      store_be64(q.data() + 8, c);
    } else {
      store_be64(q.data() + 8, load_be64(q.data() + 8) | c);
    }
    q[15 - b] = static_cast<std::byte>(round);
    for (size_t i = 0; i < 16; ++i) q[i] ^= p[i];
    key.encrypt(q);
    const uint64_t modulus = round % 2 == 0 ? modulus_u : modulus_v;
    const uint64_t high = load_be64(q.data());
    uint64_t rest = high % modulus;
    if (is_long)
      rest = static_cast<uint64_t>((static_cast<uint128>(rest) << 32 | load_be64(q.data() + 8) >> 32) % modulus);
    const uint64_t sum = a >= modulus - rest ? a - (modulus - rest) : a + rest;
    a = c;
    c = sum;
  }
  for (size_t i = u; i-- > 0; a /= kRadix) numerals[i] = static_cast<uint16_t>(a % kRadix);
  for (size_t i = n; i-- > u; c /= kRadix) numerals[i] = static_cast<uint16_t>(c % kRadix);
  return true;
}

bool encrypt_quickly(const MaskKey& key, unsigned radix, std::span<const std::byte> tweak,
                     std::span<uint16_t> numerals) {
  switch (radix) {
    case 2:
      return encrypt_quick<2>(key, tweak, numerals);
    case 10:
      return encrypt_quick<10>(key, tweak, numerals);
    case 16:
      return encrypt_quick<16>(key, tweak, numerals);
    case 26:
      return encrypt_quick<26>(key, tweak, numerals);
    default:
      return false;
  }
}

}  // namespace

bool ff1_takes(unsigned radix, size_t count) {
  if (count < 2 || count > kFf1NumeralsMax) return false;
  uint64_t product = 1;
  for (size_t i = 0; i < count && product < kFf1DomainMin; ++i) product *= radix;
  return product >= kFf1DomainMin;
}

void ff1_encrypt(const MaskKey& key, unsigned radix, std::span<const std::byte> tweak, std::span<uint16_t> numerals) {
  GH_CHECK(ff1_takes(radix, numerals.size()) && tweak.size() <= kTweakBytesMax);
  if (encrypt_quickly(key, radix, tweak, numerals)) return;
  const auto cipher = [&key](Block& block) { key.encrypt(block); };
  Ff1(cipher, radix, tweak, numerals.size()).run(numerals, true);
}
void ff1_encrypt(const BlockCipher& cipher, unsigned radix, std::span<const std::byte> tweak,
                 std::span<uint16_t> numerals) {
  Ff1(cipher, radix, tweak, numerals.size()).run(numerals, true);
}
void ff1_decrypt(const BlockCipher& cipher, unsigned radix, std::span<const std::byte> tweak,
                 std::span<uint16_t> numerals) {
  Ff1(cipher, radix, tweak, numerals.size()).run(numerals, false);
}

}  // namespace gatehouse::mask
