// SPDX-License-Identifier: Apache-2.0
// GateMaps: descriptors of the maps that the capture plane shares with the shim's redirect (bpf/gate.h). They are the
// capture plane's; -1: there is none, and who opened a connection is not known.
#pragma once

namespace gatehouse {

struct GateMaps {
  int steered = -1;
  int openers = -1;
  int legs = -1;
  int accepted = -1;
  int led = -1;
};

}  // namespace gatehouse
