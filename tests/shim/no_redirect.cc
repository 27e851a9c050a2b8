// SPDX-License-Identifier: Apache-2.0
// Stands in for the redirect until it is there: tests have none.
#include "agent/shim/redirect.h"

namespace gatehouse::shim {

struct Redirect::State {};
Redirect::~Redirect() = default;
Opener Redirect::take_opener(int) { return {}; }
Status Redirect::announce(int, Transport, const Endpoint&) { return {}; }
void Redirect::forget(int) {}

}  // namespace gatehouse::shim
