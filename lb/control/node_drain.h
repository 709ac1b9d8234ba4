// Asks a node itself to drain, where the pool's status section says how ([pool.NAME.status] drain):
// one POST to the port that is asked for the status, with Basic authentication,
//
//   POST PATH?rate=50&deadline=540        (a second; seconds; one may be missing; &force=true where
//   the
//                                         operator said --force: also if no other node can carry
//                                         it)
//   200 {"draining":true,"connections":41,"revocable":true}
//
// so that its sessions end by its own words, the resumable and idle ones first, and resume
// elsewhere. One that says that it is revocable is asked to take clients again when it is made
// ready; only a restart brings back any other:
//
//   DELETE PATH
//   200 {"draining":false}
//
// So is one whose answer was lost: it may drain, and may be able to take that back.
//
// Control thread only. Destruction ends what is under way without an answer; it may happen from
// inside the answer.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "lb/config/config.h"
#include "lb/control/orders.h"
#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/probe/check_runner.h"

namespace lb {

// Of a deadline the node gets so much; in the rest the balancer ends who is still there, evenly.
constexpr net::Duration NodesPart(net::Duration deadline) { return deadline - deadline / 10; }

struct NodeDrainAnswer {
  uint64_t connections = 0;  // that it says it drains
  bool revocable = false;
};

// Pure: what is asked, and what the answer says. The error is in words.
std::string NodeDrainTarget(const std::string& path, double rate, net::Duration deadline,
                            bool force);
std::expected<NodeDrainAnswer, std::string> ReadNodeDrainAnswer(const std::string& body);
std::expected<void, std::string> ReadNodeBackAnswer(const std::string& body);

// For who ordered the drain: what was asked, what the node answered, and what follows here.
std::expected<std::string, std::string> NodeAnswerText(
    const DrainOrder& order, const std::expected<NodeDrainAnswer, std::string>& answer);

// Why there is no answer that says yes.
struct NodeSilence {
  std::string why;
  bool maybe_done = false;  // it may have heard, and done what it was asked
};

class NodeDrain {
 public:
  // The body of its answer.
  using Answer = std::expected<std::string, NodeSilence>;
  using Done = std::move_only_function<void(Answer)>;

  // `address`: the node's; `status`: how it is asked.
  NodeDrain(net::EventLoop& loop, const net::SocketName& address, const StatusConfig& status,
            std::string method, std::string target, Done done);

 private:
  std::unique_ptr<net::HttpFetch> fetch_;
};

}  // namespace lb
