// A rolling restart of a pool, as a course of steps: one node after another is drained, restarted
// by a hook, waited for until checks say that it is up, and until it is warm. Never is more than
// one node out by it, and none is taken out while another is not well.
//
//   kBefore ──drain──> kDraining ──maint──> kHook (or kAsked) ──ready──> kReturning ──> kWarming ─┐
//      ^ │ └────────────────────────────────── the next node
//      ──────────────────────────────────────────┘
//
// What stops it leaves the pool as safe as it can be: a node whose drain cannot go on is given
// back, but one that drains by itself and cannot take that back is restarted, which is the only way
// back; one whose restart failed stays out and is named, with what to do.
//
// This is the judgement alone: `mongooselb ctl rolling-restart` (rolling_restart.h) carries out its
// orders, runs the hook, and tells it what came of them.
//
// Pure; one thread. The clock is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/ctl/ctl_table.h"

namespace lb {

// A node as the balancer shows it at this moment.
struct RolloutNode {
  std::string name;
  std::string state;  // NodeView::state
  std::string why;
  std::string admin;
  uint64_t active = 0;      // connections
  double warmup = 1;        // 0..1
  size_t checks = 0;        // that look at it, the status API included
  std::string incarnation;  // by the status API; "" when it is not asked, or has not answered
  std::string address = "";
};

struct RolloutPlan {
  std::string pool;
  std::vector<std::string> nodes;  // in this order
  net::Duration drain_deadline{};  // as the drain is ordered with; then its last connections end
  net::Duration return_within{};   // from the end of the hook until it is up
  bool hook = true;                // false: an operator restarts each node, and says `resume`
  bool force = false;              // whatever the other nodes are like
};

// What operators want of one that is under way.
struct RolloutWish {
  bool paused = false;
  bool aborted = false;
  uint32_t resumes = 0;  // how often it was told to go on
};

enum class RolloutStage : uint8_t {
  kBefore,     // between two nodes
  kDraining,   // until its last connection has gone
  kHook,       // the hook runs, or is about to
  kAsked,      // without a hook: an operator restarts it
  kReturning,  // until its checks say that it is up
  kWarming,
  kEnded,
};
std::string_view RolloutStageName(RolloutStage stage);

struct RolloutOrder {
  enum class Kind : uint8_t { kNone, kDrain, kMaint, kHook, kReady, kEnd };
  Kind kind = Kind::kNone;
  std::string node = "";
};

class Rollout {
 public:
  // After a drain's deadline, for its last connections to close.
  static constexpr net::Duration kDrainGrace = std::chrono::seconds(15);
  // How long the balancer may be away (an upgrade, a restart) before this ends.
  static constexpr net::Duration kBlindMax = std::chrono::seconds(60);
  // How often a restarted node may fall while it warms up, before it is said to be not well.
  static constexpr uint32_t kFallsMax = 5;

  explicit Rollout(RolloutPlan plan);

  // Why it must not begin, "" when it may. (Whether the others can carry a node's load is the
  // balancer's answer to a drain, or to one with dry-run.)
  std::string Refusal(std::span<const RolloutNode> nodes) const;

  // What to do now. An order but kNone and kEnd is answered by OnOrder or OnHook; until then, as
  // when the balancer went away in between, it comes again. kEnd: it is over, see exit() and
  // message().
  RolloutOrder Look(std::span<const RolloutNode> nodes, const RolloutWish& wish, net::Time now);
  // Instead, when the balancer could not be asked.
  RolloutOrder LookBlind(std::string_view why, net::Time now);
  // `for_good`, of a drain: the node does it itself, and only its restart ends that.
  void OnOrder(bool done, std::string_view why, net::Time now, bool for_good = false);
  void OnHook(bool done, std::string_view why, net::Time now);

  RolloutStage stage() const { return stage_; }
  const std::string& node() const { return node_; }  // that it is at; "" before the first
  size_t done() const { return done_; }              // nodes that are through
  const RolloutPlan& plan() const { return plan_; }
  std::string Text() const;  // where it is, in words
  net::CtlExit exit() const { return exit_; }
  const std::string& message() const { return message_; }

 private:
  using Kind = RolloutOrder::Kind;

  // Of what comes and goes: how long it was there in all.
  class Sum {
   public:
    void Run(net::Time now) {
      if (last_) total_ += now - *last_;
      last_ = now;
    }
    void Hold(net::Time now) {
      Run(now);
      last_.reset();
    }
    void Skip() { last_.reset(); }  // nobody looked
    bool running() const { return last_.has_value(); }
    net::Duration total() const { return total_; }

   private:
    net::Duration total_{};
    std::optional<net::Time> last_;
  };

  RolloutOrder Before(std::span<const RolloutNode> nodes, const RolloutWish& wish, net::Time now);
  std::optional<RolloutOrder> WaitForAll(std::span<const RolloutNode> nodes,
                                         const std::string& next, net::Time now);
  RolloutOrder Draining(std::span<const RolloutNode> nodes, const RolloutWish& wish, net::Time now);
  RolloutOrder Hook(const RolloutWish& wish);
  RolloutOrder Asked(const RolloutWish& wish);
  RolloutOrder Returning(const RolloutNode* node, const RolloutWish& wish, net::Time now);
  RolloutOrder Warming(const RolloutNode* node, const RolloutWish& wish, net::Time now);
  RolloutOrder Order(Kind kind);
  RolloutOrder GiveBack(net::CtlExit exit, std::string why);
  RolloutOrder End(net::CtlExit exit, std::string message);
  void Enter(RolloutStage stage, net::Time now);
  std::string GoOn(size_t from) const;  // the command that goes on with what is left

  const RolloutPlan plan_;
  RolloutStage stage_ = RolloutStage::kBefore;
  net::Time entered_{};  // the stage
  Kind pending_ = Kind::kNone;
  size_t done_ = 0;
  std::string node_;
  std::string incarnation_;  // of the node, before it was restarted
  std::string waits_for_;    // in words, for Text()
  uint64_t left_ = 0;        // connections
  uint32_t resumes_ = 0;     // when it began to wait for an operator
  bool restarted_ = false;   // the node: its hook has done, or an operator says so
  bool aborting_ = false;    // the node is brought back first
  bool gives_back_ = false;  // what that has led to is not seen yet
  std::optional<net::Time> blind_since_;
  bool for_good_ = false;  // the node drains until it is restarted
  Sum unwell_;             // between two nodes, that one was down
  Sum away_;               // of the node, since its restart; not while it warms up
  uint32_t falls_ = 0;     // since then
  net::CtlExit exit_ = net::CtlExit::kDone;
  std::string message_;
};

}  // namespace lb
