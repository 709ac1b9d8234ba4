// Draining a node: can the others carry it, and how fast may its connections be ended?
//
// Pure; control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "net/base/clock.h"
#include "net/limit/gcra.h"

namespace lb {

struct DrainNode {
  std::string name;
  bool choosable = true;  // up, not drained, weight above 0
  bool backup = false;
  uint64_t active = 0;
  uint64_t connections_max = 0;                 // 0 = no limit
  double admission_rate = net::kRateUnlimited;  // of its warm-up at this moment
  net::Duration warm_in{0};                     // until the warm-up ends
};

struct DrainRequest {
  double rate = 0;            // connections to end a second; 0 = none are ended by rate
  net::Duration deadline{0};  // when the last one is ended; 0 = never
};

struct DrainVerdict {
  bool allowed = false;
  std::string why;  // one sentence, for refusal and consent alike
  uint64_t to_move = 0;
  uint64_t room = 0;  // what the survivors may take more; UINT64_MAX = no limit
  size_t survivors = 0;
  double safe_rate =
      net::kRateUnlimited;  // what the survivors' warm-up takes a second at this moment
};

// Refused when no other node is choosable, when the others' connections_max leaves too little room,
// or when their warm-up cannot take all before the deadline. (--force overrides, not here.)
DrainVerdict CheckDrain(std::span<const DrainNode> nodes, size_t target,
                        const DrainRequest& request);

// How many connections to end now. With a rate: that many a second. With a deadline, too: what the
// rate would leave is spread evenly over the second half of the time; whatever is left at the
// deadline all the same is ended at once. With a deadline alone: evenly until then. With neither:
// none.
// `rate_max` bounds the pace before the deadline (DrainVerdict::safe_rate).
class ShutPlan {
 public:
  struct Due {
    uint64_t now = 0;
    net::Duration next{0};  // ask again after this; 0 = nothing will come due any more
    bool deadline = false;  // reached: everything left is ended
  };

  ShutPlan(const DrainRequest& request, uint64_t connections, double rate_max, net::Time start);

  // `left`: connections that the node still has. What is returned counts as ended.
  Due Ask(uint64_t left, net::Time now);
  void SetRateMax(double rate_max) { rate_max_ = rate_max; }  // as the others warm up
  uint64_t ended() const { return ended_; }

 private:
  double rate_ = 0;
  double rate_max_;
  net::Time last_;
  bool has_deadline_;
  net::Time deadline_;
  net::Time spread_from_;
  double credit_ = 0;
  uint64_t ended_ = 0;
};

}  // namespace lb
