// SPDX-License-Identifier: Apache-2.0
// Tests' clients come by themselves: no redirect, and none of its BPF linked.
#include "agent/shim/redirect.h"

namespace gatehouse::shim {

struct Redirect::State {};
Redirect::~Redirect() = default;
Opener Redirect::take_opener(int) {
  return {};
}
Status Redirect::announce(int, Transport, const Endpoint&) {
  return {};
}
void Redirect::forget(int) {}

}  // namespace gatehouse::shim
