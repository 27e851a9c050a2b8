// SPDX-License-Identifier: Apache-2.0
#include "cli/coverage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gatehouse::cli {
namespace {

using testing::ElementsAre;

v1::Row event(const char* kind, const char* detail = "", const char* fidelity = "complete") {
  v1::Row row;
  row.set_kind(kind);
  row.set_detail(detail);
  row.set_fidelity(fidelity);
  return row;
}

v1::Row disconnect(const char* verdict, std::initializer_list<const char*> reasons = {}) {
  v1::Row row = event("disconnect", "closed");
  row.set_coverage_verdict(verdict);
  for (const char* reason : reasons) row.add_coverage_reasons(reason);
  return row;
}

TEST(SessionCoverage, TheAgentsVerdictInWords) {
  SessionCoverage coverage;
  coverage.add(event("statement"));
  coverage.add(disconnect(
      "gaps", {"request opened-before-watching bytes=100", "request cut bytes=1",
               "response ring-full bytes=4096 gaps=2 from=120 to=9000", "request fault bytes=5 gaps=1 from=7 to=12"}));
  EXPECT_EQ(coverage.verdict(), "gaps");
  EXPECT_THAT(
      coverage.lines(),
      ElementsAre("gaps: not everything was seen", "100 bytes of requests: moved before the watching began",
                  "1 byte of requests: the rest of messages that are longer than what is kept",
                  "4 096 bytes of answers in 2 gaps within offsets 120 to 9 000: the agent was too slow and the "
                  "kernel's ring was full",
                  "5 bytes of requests in 1 gap at offsets 7 to 12: the process's memory could not be read"));
}

TEST(SessionCoverage, OfAnOpenSessionByWhatIsKnownSoFar) {
  SessionCoverage full;
  full.add(event("connect"));
  full.add(event("statement"));
  EXPECT_THAT(full.lines(), ElementsAre("full so far: every byte was seen"));

  SessionCoverage truncated;
  truncated.add(event("statement", "", "truncated"));
  EXPECT_EQ(truncated.verdict(), "truncated");

  SessionCoverage gaps;
  gaps.add(event("gap", "opened-before-watching request offset=0 bytes=70 response_bytes=90 state=idle",
                 "joined-mid-stream"));
  gaps.add(event("statement", "", "joined-mid-stream"));
  gaps.add(event("gap", "ring-full response offset=100 bytes=5", "after-gap"));
  gaps.add(event("gap", "ring-full response offset=300 bytes=6", "after-gap"));
  EXPECT_THAT(gaps.lines(),
              ElementsAre("gaps so far: not everything was seen",
                          "open before the watching began: 70 bytes of requests and 90 bytes of answers were not seen",
                          "11 bytes of answers in 2 gaps within offsets 100 to 306: the agent was too slow and the "
                          "kernel's ring was full"));

  SessionCoverage blind;
  blind.add(event("gap", "opened-before-watching", "joined-mid-stream"));
  blind.add(event("gap", "unsynced request offset=0 bytes=100", "after-gap"));
  EXPECT_THAT(blind.lines(),
              ElementsAre("blind so far: nothing of what the client said could be read",
                          "open before the watching began: what it did until then is not known",
                          "100 bytes of requests in 1 gap at offsets 0 to 100: where messages begin was not known"));

  SessionCoverage opaque;
  opaque.add(event("opaque", "tls", "opaque"));
  EXPECT_THAT(opaque.lines(), ElementsAre("opaque so far: the content cannot be read", "encrypted with TLS"));
}

TEST(SessionCoverage, WhatTheAgentDroppedMayBeThisSessions) {
  SessionCoverage coverage;
  coverage.add(event("statement"));
  coverage.add(disconnect("full"));
  EXPECT_THAT(coverage.lines(), ElementsAre("full: every byte was seen"));
  coverage.add_of_agent(event("gap", "spool-full events=12"));
  EXPECT_THAT(coverage.lines(), ElementsAre("gaps: not everything was seen",
                                            "12 events of its agent were dropped meanwhile, perhaps some of this "
                                            "session: the agent's spool was full"));
}

TEST(SessionCoverage, WhatWasOpenWhenTheAgentWasKilledIsNotKnown) {
  SessionCoverage ended;
  ended.add(event("statement"));
  ended.add(disconnect("full"));
  ended.add_of_agent(event("gap", "agent-killed since=A until=B"));
  EXPECT_THAT(ended.lines(), ElementsAre("full: every byte was seen"));
  SessionCoverage open;
  open.add(event("statement"));
  open.add_of_agent(event("gap", "agent-killed since=A until=B"));
  EXPECT_THAT(open.lines(), ElementsAre("gaps so far: not everything was seen",
                                        "its agent did not run and saw no end of it: since=A until=B"));
}

// A newer agent or collector may say what this one does not know.
TEST(SessionCoverage, UnknownWordsAreShownHarmlessly) {
  SessionCoverage coverage;
  coverage.add(disconnect("new\x1b[1m", {"sideways whatever", "request \x1b[2J bytes=x", ""}));
  for (const std::string& line : coverage.lines()) EXPECT_EQ(line.find('\x1b'), std::string::npos) << line;
}

}  // namespace
}  // namespace gatehouse::cli
