// SPDX-License-Identifier: Apache-2.0
// Listener: where the clients of one gated server come to.
#pragma once

#include <utility>

#include "agent/shim/leg.h"
#include "agent/shim/loop.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::shim {

class Listener final : public Pollable {
 public:
  // Owns the door's listening socket from here on. `loop` and `door` outlive it.
  Listener(Loop& loop, const Door& door) : loop_(loop), door_(door), socket_(door.gated->listener) {}
  Listener(Loop& loop, const Door& door, UniqueFd socket) : loop_(loop), door_(door), socket_(std::move(socket)) {}
  Status open();

  void on_events(uint32_t events) override;
  // Accepts what is there, up to a bound; the rest in the next turn.
  void accept_some();
  // There may be more to accept, which nobody will tell again.
  [[nodiscard]] bool is_due() const { return is_due_; }
  // It was shut down by somebody else.
  [[nodiscard]] bool is_over() const { return is_over_; }

 private:
  void take(UniqueFd accepted);
  [[nodiscard]] bool is_led(int accepted) const;

  Loop& loop_;
  const Door& door_;
  UniqueFd socket_;
  bool is_due_ = false, is_over_ = false;
};

}  // namespace gatehouse::shim
