// SPDX-License-Identifier: Apache-2.0
// A redirect that nobody has: what a worker is linked with where clients come by themselves.
#include "agent/shim/redirect.h"

namespace gatehouse::shim {

struct Redirect::State {};
Redirect::~Redirect() = default;
Opener Redirect::take_opener(int) const {
  return {};
}
Status Redirect::announce(int, Transport, const Endpoint&) {
  return {};
}
Status Redirect::announce_far(int) {
  return {};
}
void Redirect::forget(int) {}

}  // namespace gatehouse::shim
