// SPDX-License-Identifier: Apache-2.0
#include "common/pki.h"

#include <gtest/gtest.h>

#include "common/clock.h"

namespace gatehouse::pki {
namespace {

const Authority& authority() {
  static const Authority made = *Authority::create("test authority");
  return made;
}

TEST(Pki, SubjectsAreUris) {
  EXPECT_EQ(to_uri({.role = Role::kAgent, .id = "db1-00112233"}), "gatehouse://agent/db1-00112233");
  EXPECT_EQ(parse_uri("gatehouse://operator/ann"), (Subject{.role = Role::kOperator, .id = "ann"}));
  for (const std::string_view bad : {"", "gatehouse://agent/", "gatehouse://agent/a/b", "gatehouse://agent/A",
                                     "gatehouse://agent/../x", "gatehouse://root/x", "https://agent/x"})
    EXPECT_FALSE(parse_uri(bad)) << bad;
}

TEST(Pki, AgentIdFollowsNameAndKey) {
  const Sha256 key = sha256({});
  EXPECT_EQ(agent_id("DB 1.example", key), "db-1.example-e3b0c442");
  EXPECT_EQ(agent_id("", key), "agent-e3b0c442");
  EXPECT_EQ(agent_id("--", key), "agent-e3b0c442");
  EXPECT_TRUE(is_valid_id(agent_id(std::string(300, 'x'), key)));
  EXPECT_TRUE(is_valid_id(agent_id("\xC3\xA9t\xC3\xA9", key)));
}

TEST(Pki, ServerCertificateHasItsNames) {
  const std::vector<std::string> names{"db.example", "127.0.0.1", "::1"};
  const auto server = authority().issue_server(names);
  ASSERT_TRUE(server) << server.error().message();
  const auto info = inspect(server->certificate_pem);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->names, (std::vector<std::string>{std::string(kCollectorName), "db.example", "127.0.0.1", "::1"}));
  EXPECT_TRUE(info->uris.empty());
  EXPECT_TRUE(find_by_fingerprint(server->certificate_pem, authority().fingerprint()));
  EXPECT_FALSE(find_by_fingerprint(server->certificate_pem, sha256({})));
  EXPECT_FALSE(authority().issue_server(std::vector<std::string>{"a,URI:gatehouse://agent/x"}));
}

TEST(Pki, RequestIsSignedForItsKeyOnly) {
  const auto key = create_key();
  const auto request = create_request(*key);
  ASSERT_TRUE(request);
  EXPECT_EQ(*request_key_sha256(*request), *public_key_sha256(*key));
  const auto certificate = authority().sign_request(*request, {.role = Role::kAgent, .id = "db1"});
  ASSERT_TRUE(certificate) << certificate.error().message();
  const auto info = inspect(*certificate);
  EXPECT_EQ(info->uris, std::vector<std::string>{"gatehouse://agent/db1"});
  const uint64_t now_s = unix_ns() / 1'000'000'000;
  EXPECT_LT(info->not_before_s, now_s);
  EXPECT_NEAR(static_cast<double>(info->not_after_s - now_s), 365 * 86400, 10);
  EXPECT_FALSE(info->is_due(now_s + 200 * 86400));
  EXPECT_TRUE(info->is_due(now_s + 260 * 86400));
  EXPECT_TRUE(info->is_due(now_s + 400 * 86400));
}

TEST(Pki, BadInputIsNamed) {
  EXPECT_FALSE(authority().sign_request("", {.id = "x"}));
  EXPECT_FALSE(authority().sign_request(
      "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", {.id = "x"}));
  const std::string request = *create_request(*create_key());
  int accepted = 0;
  for (size_t i = 40; i + 40 < request.size(); i += 3) {
    std::string changed = request;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    if (changed != request && authority().sign_request(changed, {.id = "x"})) ++accepted;
  }
  EXPECT_EQ(accepted, 0);
  const auto other = *Authority::create("other");
  EXPECT_FALSE(Authority::load(authority().certificate_pem(), other.key_pem()));
  EXPECT_TRUE(Authority::load(authority().certificate_pem(), authority().key_pem()));
}

TEST(Pki, Tokens) {
  const EnrolmentToken token{.secret = random_hex(16), .authority_fingerprint = authority().fingerprint()};
  const std::string text = to_text(token);
  const auto parsed = parse_token(text);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->secret, token.secret);
  EXPECT_EQ(parsed->authority_fingerprint, token.authority_fingerprint);
  EXPECT_FALSE(parse_token(""));
  EXPECT_FALSE(parse_token(text + "0"));
  for (size_t bytes = 0; bytes < text.size(); ++bytes) EXPECT_FALSE(parse_token(text.substr(0, bytes)));
}

TEST(Pki, Fingerprints) {
  const Sha256 digest = sha256({});
  EXPECT_EQ(parse_fingerprint(to_hex(digest)), digest);
  EXPECT_FALSE(parse_fingerprint("e3"));
  EXPECT_FALSE(parse_fingerprint(std::string(64, 'g')));
  EXPECT_EQ(random_hex(16).size(), 32U);
  EXPECT_NE(random_hex(16), random_hex(16));
}

}  // namespace
}  // namespace gatehouse::pki
