// SPDX-License-Identifier: Apache-2.0
// The oracle is OpenSSL: what its two ends say to each other, in memory, is what a channel must find.
#include "agent/tls/channel.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <map>
#include <string>

namespace gatehouse::tls {
namespace {

struct Flight {
  Direction direction = Direction::kRequest;
  std::vector<std::byte> bytes;
};

struct Setup {
  std::string name;
  int version = TLS1_3_VERSION;
  const char* suite = "TLS_AES_128_GCM_SHA256";
  bool encrypts_then_macs = true;
};

std::string g_log;
std::vector<TlsSecret> g_secrets;
std::deque<std::vector<std::byte>> g_bytes;

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return bytes;
}

void on_key_log(const SSL*, const char* text) {
  const std::string_view line(text);
  const size_t first = line.find(' '), second = line.rfind(' ');
  const std::string_view label = line.substr(0, first);
  TlsSecret secret{.time_ns = 1};
  if (label == "CLIENT_TRAFFIC_SECRET_0")
    secret.kind = TlsSecret::Kind::kClientTraffic;
  else if (label == "SERVER_TRAFFIC_SECRET_0")
    secret.kind = TlsSecret::Kind::kServerTraffic;
  else if (label == "CLIENT_RANDOM")
    secret.kind = TlsSecret::Kind::kMaster;
  else
    return;
  std::ranges::copy(from_hex(line.substr(first + 1, 64)), secret.client_random.begin());
  secret.secret = g_bytes.emplace_back(from_hex(line.substr(second + 1)));
  g_secrets.push_back(secret);
}

// Two ends of OpenSSL, and what goes between them.
class Talk {
 public:
  explicit Talk(const Setup& setup, SSL_SESSION* resumed = nullptr) {
    g_secrets.clear();
    g_bytes.clear();
    for (auto** context : {&client_context_, &server_context_}) {
      *context = SSL_CTX_new(context == &client_context_ ? TLS_client_method() : TLS_server_method());
      SSL_CTX_set_min_proto_version(*context, setup.version);
      SSL_CTX_set_max_proto_version(*context, setup.version);
      SSL_CTX_set_keylog_callback(*context, on_key_log);
      SSL_CTX_set_security_level(*context, 0);
      if (!setup.encrypts_then_macs) SSL_CTX_set_options(*context, SSL_OP_NO_ENCRYPT_THEN_MAC);
      if (setup.version == TLS1_3_VERSION)
        EXPECT_EQ(SSL_CTX_set_ciphersuites(*context, setup.suite), 1);
      else
        EXPECT_EQ(SSL_CTX_set_cipher_list(*context, setup.suite), 1) << setup.suite;
    }
    static EVP_PKEY* const kKey = EVP_RSA_gen(2048);
    EVP_PKEY* const key = kKey;
    X509* const certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(server_context_, certificate);
    SSL_CTX_use_PrivateKey(server_context_, key);
    X509_free(certificate);
    client_ = make(client_context_);
    server_ = make(server_context_);
    SSL_set_connect_state(client_);
    SSL_set_accept_state(server_);
    if (resumed != nullptr) SSL_set_session(client_, resumed);
    while (SSL_is_init_finished(client_) == 0 || SSL_is_init_finished(server_) == 0) {
      SSL_do_handshake(client_);
      carry(client_, server_, Direction::kRequest);
      SSL_do_handshake(server_);
      carry(server_, client_, Direction::kResponse);
    }
  }
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;
  ~Talk() {
    SSL_free(client_);
    SSL_free(server_);
    SSL_CTX_free(client_context_);
    SSL_CTX_free(server_context_);
  }

  void say(Direction direction, const std::string& text) {
    SSL* const from = direction == Direction::kRequest ? client_ : server_;
    SSL* const to = direction == Direction::kRequest ? server_ : client_;
    ASSERT_EQ(SSL_write(from, text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
    said[static_cast<size_t>(direction)] += text;
    carry(from, to, direction);
    std::string read(text.size(), 0);
    for (size_t at = 0; at < read.size();) {
      const int got = SSL_read(to, read.data() + at, static_cast<int>(read.size() - at));
      ASSERT_GT(got, 0);
      at += static_cast<size_t>(got);
    }
    carry(to, from, direction == Direction::kRequest ? Direction::kResponse : Direction::kRequest);
  }
  void update_keys(Direction direction, bool both) {
    SSL* const from = direction == Direction::kRequest ? client_ : server_;
    ASSERT_EQ(SSL_key_update(from, both ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
  }
  SSL_SESSION* session() { return SSL_get1_session(client_); }
  bool was_resumed() { return SSL_session_reused(client_) == 1; }

  std::vector<Flight> flights;
  std::array<std::string, 2> said;

 private:
  static SSL* make(SSL_CTX* context) {
    SSL* const ssl = SSL_new(context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
  }
  void carry(SSL* from, SSL* to, Direction direction) {
    char* data = nullptr;
    const long bytes = BIO_get_mem_data(SSL_get_wbio(from), &data);
    if (bytes <= 0) return;
    const auto span = std::as_bytes(std::span{data, static_cast<size_t>(bytes)});
    flights.push_back({.direction = direction, .bytes = {span.begin(), span.end()}});
    BIO_write(SSL_get_rbio(to), data, static_cast<int>(bytes));
    BIO_reset(SSL_get_wbio(from));
  }

  SSL_CTX* client_context_ = nullptr;
  SSL_CTX* server_context_ = nullptr;
  SSL* client_ = nullptr;
  SSL* server_ = nullptr;
};

class Heard final : public ChannelSink {
 public:
  void on_plain(Direction direction, std::span<const std::byte> plain, const Moment& moment) override {
    auto& text = said[static_cast<size_t>(direction)];
    text.append(reinterpret_cast<const char*>(plain.data()), plain.size());
    EXPECT_GE(moment.position, last_[static_cast<size_t>(direction)]);
    last_[static_cast<size_t>(direction)] = moment.position;
  }
  void on_plain_lost(Direction direction, uint64_t bytes, const Moment&) override {
    auto& text = said[static_cast<size_t>(direction)];
    lost[static_cast<size_t>(direction)] += bytes;
    if (bytes < kUnknownBytes)
      text.append(bytes, '?');
    else
      text += "…";
  }
  std::array<std::string, 2> said;
  std::array<uint64_t, 2> lost{};

 private:
  std::array<uint64_t, 2> last_{};
};

void tell(SecretBook& book) {
  for (const TlsSecret& secret : g_secrets) ASSERT_TRUE(book.add(secret));
}

// Plays what was recorded, in parts of `chunk` bytes, without [begin, end) of a direction's bytes.
void play(const std::vector<Flight>& flights, size_t chunk, Channel& channel, Heard& heard,
          Direction cut = Direction::kRequest, uint64_t begin = 0, uint64_t end = 0) {
  std::array<uint64_t, 2> position{};
  for (const Flight& flight : flights) {
    auto& at = position[static_cast<size_t>(flight.direction)];
    for (size_t i = 0; i < flight.bytes.size();) {
      size_t take = std::min(chunk, flight.bytes.size() - i);
      const bool is_cut = flight.direction == cut && at < end && at + take > begin;
      if (is_cut && at < begin) take = begin - at;
      const bool is_lost = flight.direction == cut && at >= begin && at < end;
      if (is_lost) take = std::min<uint64_t>(take, end - at);
      const Moment moment{.time_ns = 1, .position = at};
      if (is_lost)
        channel.on_gap(flight.direction, take, moment, heard);
      else
        channel.on_bytes(flight.direction, std::span(flight.bytes).subspan(i, take), moment, heard);
      i += take;
      at += take;
    }
  }
}

void talk(Talk& t) {
  t.say(Direction::kRequest, "select 1");
  t.say(Direction::kResponse, "one row");
  t.say(Direction::kRequest, std::string(40'000, 'q'));
  t.say(Direction::kResponse, std::string(20'000, 'r'));
  for (int i = 0; i < 20; ++i) {
    t.say(Direction::kRequest, "statement " + std::to_string(i));
    t.say(Direction::kResponse, "answer " + std::to_string(i));
  }
}

const std::vector<Setup>& setups() {
  static const std::vector<Setup> kSetups{{"tls13_aes128", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
                                          {"tls13_aes256", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
                                          {"tls13_chacha", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
                                          {"tls12_aes128gcm", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256"},
                                          {"tls12_aes256gcm", TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384"},
                                          {"tls12_chacha", TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305"},
                                          {"tls12_rsa", TLS1_2_VERSION, "AES256-GCM-SHA384"},
                                          {"tls12_cbc_sha1_etm", TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA"},
                                          {"tls12_cbc_sha1_mte", TLS1_2_VERSION, "ECDHE-RSA-AES256-SHA", false},
                                          {"tls12_cbc_sha256_etm", TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA256"},
                                          {"tls12_cbc_sha256_mte", TLS1_2_VERSION, "AES256-SHA256", false},
                                          {"tls12_cbc_sha384_etm", TLS1_2_VERSION, "ECDHE-RSA-AES256-SHA384"},
                                          {"tls12_cbc_sha384_mte", TLS1_2_VERSION, "ECDHE-RSA-AES256-SHA384", false}};
  return kSetups;
}

class TlsChannel : public testing::TestWithParam<Setup> {};

TEST_P(TlsChannel, HearsWhatIsSaidInAnyChunks) {
  Talk t(GetParam());
  talk(t);
  for (const size_t chunk : {size_t{1}, size_t{2}, size_t{5}, size_t{6}, size_t{333}, size_t{16'413}, SIZE_MAX}) {
    SecretBook book;
    tell(book);
    Heard heard;
    {
      Channel channel(book);
      play(t.flights, chunk, channel, heard);
      EXPECT_TRUE(channel.is_open());
      EXPECT_EQ(channel.sealed_because(), "");
    }
    EXPECT_EQ(heard.said, t.said) << chunk;
    EXPECT_EQ(book.size(), 0U);
  }
}

TEST_P(TlsChannel, WaitsForSecrets) {
  Talk t(GetParam());
  t.say(Direction::kRequest, "select 1");
  t.say(Direction::kResponse, "one row");
  for (size_t told_after = 0; told_after <= t.flights.size(); ++told_after) {
    SecretBook book;
    Heard heard;
    Channel channel(book);
    const std::vector<Flight> before(t.flights.begin(), t.flights.begin() + static_cast<ptrdiff_t>(told_after));
    play(before, 7, channel, heard);
    // One after the other, as ends tell them.
    for (const TlsSecret& secret : g_secrets) {
      ASSERT_TRUE(book.add(secret));
      channel.on_secret(heard);
    }
    std::array<uint64_t, 2> position{};
    for (size_t i = 0; i < t.flights.size(); ++i) {
      const Flight& flight = t.flights[i];
      auto& at = position[static_cast<size_t>(flight.direction)];
      if (i >= told_after) channel.on_bytes(flight.direction, flight.bytes, {.time_ns = 1, .position = at}, heard);
      at += flight.bytes.size();
    }
    EXPECT_EQ(heard.said, t.said) << told_after;
    EXPECT_FALSE(channel.is_waiting());
  }
}

TEST_P(TlsChannel, FindsItsPlaceAfterAGapAnywhere) {
  Talk t(GetParam());
  for (int i = 0; i < 12; ++i) {
    t.say(Direction::kRequest, "statement number " + std::to_string(i));
    t.say(Direction::kResponse, "answer number " + std::to_string(i));
  }
  const bool is_cbc = std::string_view(GetParam().name).find("cbc") != std::string_view::npos;
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    const auto d = static_cast<size_t>(direction);
    uint64_t total = 0, sealed_from = 0;
    size_t seen = 0;
    for (const Flight& flight : t.flights) {
      if (flight.direction != direction) continue;
      total += flight.bytes.size();
      // The handshake's flights are two at most.
      if (++seen <= 2) sealed_from = total;
    }
    for (uint64_t begin = sealed_from; begin < total; begin += 13)
      for (const uint64_t bytes : {1U, 4U, 5U, 40U, 200U}) {
        const uint64_t end = std::min<uint64_t>(begin + bytes, total);
        SecretBook book;
        tell(book);
        Heard heard;
        Channel channel(book);
        play(t.flights, 64, channel, heard, direction, begin, end);
        ASSERT_EQ(channel.sealed_because(), "") << begin;
        EXPECT_EQ(heard.said[1 - d], t.said[1 - d]);
        const std::string& got = heard.said[d];
        if (!is_cbc && end + 120 < total && heard.lost[d] > 0 && heard.lost[d] < kUnknownBytes) {
          // What was lost is known to the byte.
          ASSERT_EQ(got.size(), t.said[d].size()) << begin << "+" << bytes;
          for (size_t i = 0; i < got.size(); ++i) ASSERT_TRUE(got[i] == '?' || got[i] == t.said[d][i]);
        }
        // Records that no gap touches are heard: the first record that ends before it, and the last that begins after.
        const std::string last = direction == Direction::kRequest ? "statement number 11" : "answer number 11";
        if (end + 120 < total) {
          EXPECT_TRUE(got.ends_with(last)) << begin << "+" << bytes << " " << got;
        }
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, TlsChannel, testing::ValuesIn(setups()),
                         [](const auto& one) { return one.param.name; });

TEST(TlsChannelKeys, FollowsKeyUpdates) {
  Talk t(setups()[0]);
  t.say(Direction::kRequest, "before");
  t.update_keys(Direction::kRequest, true);
  t.say(Direction::kRequest, "after");
  t.say(Direction::kResponse, "answer under new keys");
  t.update_keys(Direction::kResponse, false);
  t.say(Direction::kResponse, "and newer ones");
  for (const size_t chunk : {size_t{1}, size_t{100}, SIZE_MAX}) {
    SecretBook book;
    tell(book);
    Heard heard;
    Channel channel(book);
    play(t.flights, chunk, channel, heard);
    EXPECT_EQ(heard.said, t.said);
  }
}

TEST(TlsChannelKeys, FindsItsPlaceAfterALostKeyUpdate) {
  Talk t(setups()[1]);
  t.say(Direction::kRequest, "before");
  uint64_t begin = 0;
  for (const Flight& flight : t.flights)
    if (flight.direction == Direction::kRequest) begin += flight.bytes.size();
  t.update_keys(Direction::kRequest, false);
  t.say(Direction::kRequest, "lost with it");
  uint64_t end = 0;
  for (const Flight& flight : t.flights)
    if (flight.direction == Direction::kRequest) end += flight.bytes.size();
  t.say(Direction::kRequest, "after");
  t.say(Direction::kRequest, "and on");
  SecretBook book;
  tell(book);
  Heard heard;
  Channel channel(book);
  play(t.flights, SIZE_MAX, channel, heard, Direction::kRequest, begin, end);
  EXPECT_EQ(heard.said[0], "before…afterand on");
}

TEST(TlsChannelKeys, OpensResumedSessions) {
  for (const size_t setup : {size_t{0}, size_t{3}}) {
    SSL_SESSION* session = nullptr;
    {
      Talk first(setups()[setup]);
      first.say(Direction::kResponse, "with tickets");
      session = first.session();
    }
    // A server of another context has no key for the ticket: a full handshake. The record layer is what counts here.
    Talk second(setups()[setup], session);
    second.say(Direction::kRequest, "again");
    SSL_SESSION_free(session);
    SecretBook book;
    tell(book);
    Heard heard;
    Channel channel(book);
    play(second.flights, SIZE_MAX, channel, heard);
    EXPECT_EQ(heard.said, second.said);
  }
}

TEST(TlsChannelSeals, WhatNoSecretComesFor) {
  Talk t(setups()[0]);
  t.say(Direction::kRequest, std::string(kHeldBytesMax + 1, 'x'));
  SecretBook book;
  Heard heard;
  Channel channel(book);
  play(t.flights, 16'384, channel, heard);
  EXPECT_EQ(channel.sealed_because(), "tls-no-secret");
  EXPECT_EQ(heard.said[0], "");
}

TEST(TlsChannelSeals, ASecretOfAnotherSessionOpensNothing) {
  Talk other(setups()[0]);
  const std::vector<TlsSecret> secrets = g_secrets;
  const auto bytes = g_bytes;
  Talk t(setups()[0]);
  t.say(Direction::kRequest, "select 1");
  SecretBook book;
  for (TlsSecret secret : secrets) {
    secret.client_random = g_secrets[0].client_random;
    ASSERT_TRUE(book.add(secret));
  }
  Heard heard;
  Channel channel(book);
  play(t.flights, SIZE_MAX, channel, heard);
  EXPECT_EQ(heard.said[0], "");
}

}  // namespace
}  // namespace gatehouse::tls
