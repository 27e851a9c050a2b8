// SPDX-License-Identifier: Apache-2.0
// redirect_shim PIN_FOLDER open|closed ADDRESS:PORT PATH: a shim in a process of its own. Prints a dot when it leads.
// A PATH of "far": the address is another host's, and there is no path.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/bpf/forwarder.h"

int main(int argc, char** argv) {
  using namespace gatehouse;
  testing::InitGoogleTest();
  if (argc != 5) return 64;
  const auto on_failure = std::string(argv[2]) == "closed" ? shim::OnFailure::kClosed : shim::OnFailure::kOpen;
  const std::string place = argv[3];
  const size_t colon = place.rfind(':');
  const auto port = static_cast<uint16_t>(std::atoi(place.c_str() + colon + 1));
  const bool is_far = std::string(argv[4]) == "far";
  std::vector<shim::Place> places{capture::test::place_at(place.substr(0, colon), port, on_failure)};
  places[0].is_far = is_far;
  if (!is_far) places.push_back(capture::test::place_at(argv[4], 0, on_failure));
  auto redirect = shim::Redirect::open({.places = places, .pin_folder = argv[1]});
  if (!redirect) {
    std::fprintf(stderr, "%s\n", redirect.error().message().c_str());
    return 1;
  }
  std::string folder = "/tmp/gatehouse-shim-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const capture::test::Forwarder forwarder(**redirect, places, folder);
  if (::write(STDOUT_FILENO, ".", 1) != 1) return 1;
  while (true) ::pause();
}
