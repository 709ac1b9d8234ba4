#include "lb/admin/rollout.h"

#include <algorithm>
#include <utility>

namespace lb {
namespace {

using Stage = RolloutStage;

const RolloutNode* Find(std::span<const RolloutNode> nodes, std::string_view name) {
  const auto found = std::ranges::find(nodes, name, &RolloutNode::name);
  return found == nodes.end() ? nullptr : &*found;
}

// It serves, be it slowly yet.
bool Serves(const RolloutNode& node) { return node.state == "up" || node.state == "warming"; }
// It will be up without anybody's doing.
bool Comes(const RolloutNode& node) { return node.state == "warming" || node.state == "checking"; }

std::string StateOf(const RolloutNode& node) {
  return node.name + " is " + node.state + (node.why.empty() ? "" : " (" + node.why + ")");
}

std::string Whole(net::Duration time) {
  return std::to_string(std::chrono::ceil<std::chrono::seconds>(time).count()) + "s";
}

std::string Connections(uint64_t count) {
  return std::to_string(count) + (count == 1 ? " connection" : " connections");
}

}  // namespace

std::string_view RolloutStageName(RolloutStage stage) {
  switch (stage) {
    case Stage::kBefore:
      return "between";
    case Stage::kDraining:
      return "draining";
    case Stage::kHook:
      return "restarting";
    case Stage::kAsked:
      return "restart-by-hand";
    case Stage::kReturning:
      return "returning";
    case Stage::kWarming:
      return "warming";
    case Stage::kEnded:
      return "ended";
  }
  return "unknown";
}

Rollout::Rollout(RolloutPlan plan) : plan_(std::move(plan)) {}

std::string Rollout::Refusal(std::span<const RolloutNode> nodes) const {
  if (plan_.nodes.empty()) return "pool " + plan_.pool + " has no node";
  for (const std::string& name : plan_.nodes) {
    const RolloutNode* node = Find(nodes, name);
    if (node == nullptr) return "pool " + plan_.pool + " has no node " + name;
    if (node->checks == 0 && !plan_.force) {
      return "nothing looks at " + name +
             ": whether it is back could not be seen; give the pool a " + "[[pool." + plan_.pool +
             ".check]] or a status section, or --force";
    }
  }
  if (plan_.force) return "";
  if (nodes.size() < 2) {
    return "pool " + plan_.pool + " has one node: nobody would serve meanwhile; --force does it";
  }
  for (const RolloutNode& node : nodes) {
    if (node.state == "up" && node.admin == "ready") continue;
    return StateOf(node) + ", and only one node may be out; " +
           (Comes(node) ? "wait until it is up" : "bring it back") + ", or --force";
  }
  return "";
}

std::string Rollout::GoOn(size_t from) const {
  if (from >= plan_.nodes.size()) return "";
  std::string names;
  for (size_t i = from; i < plan_.nodes.size(); ++i) {
    names += (names.empty() ? "" : ",") + plan_.nodes[i];
  }
  return "go on with: mongooselb ctl rolling-restart " + plan_.pool + " --nodes " + names + " ...";
}

void Rollout::Enter(RolloutStage stage, net::Time now) {
  stage_ = stage;
  entered_ = now;
  waits_for_.clear();
  unwell_ = {};
}

RolloutOrder Rollout::Order(Kind kind) {
  pending_ = kind;
  return {kind, node_};
}

RolloutOrder Rollout::End(net::CtlExit exit, std::string message) {
  stage_ = Stage::kEnded;
  pending_ = Kind::kNone;
  exit_ = exit;
  message_ = std::move(message);
  return {Kind::kEnd, node_};
}

// The node was not restarted: it serves again, and all ends.
RolloutOrder Rollout::GiveBack(net::CtlExit exit, std::string why) {
  exit_ = exit;
  message_ = std::move(why);
  stage_ = Stage::kEnded;
  gives_back_ = true;
  return Order(Kind::kReady);
}

RolloutOrder Rollout::Look(std::span<const RolloutNode> nodes, const RolloutWish& wish,
                           net::Time now) {
  blind_since_.reset();
  waits_for_.clear();  // what held it at the look before
  if (pending_ != Kind::kNone) return {pending_, node_};
  const RolloutNode* node = Find(nodes, node_);
  if (node != nullptr) left_ = node->active;
  switch (stage_) {
    case Stage::kBefore:
      return Before(nodes, wish, now);
    case Stage::kDraining:
      return Draining(nodes, wish, now);
    case Stage::kHook:
      return Hook(wish);
    case Stage::kAsked:
      return Asked(wish);
    case Stage::kReturning:
      return Returning(node, wish, now);
    case Stage::kWarming:
      return Warming(node, wish, now);
    case Stage::kEnded:
      // Where the node drains by itself, no order of ours takes that back.
      if (std::exchange(gives_back_, false) && node != nullptr && !Serves(*node) && !Comes(*node)) {
        message_ += "; but " + StateOf(*node) + ", and gets no connections until that changes";
      }
      break;
  }
  return {Kind::kEnd, node_};
}

RolloutOrder Rollout::LookBlind(std::string_view why, net::Time now) {
  if (stage_ == Stage::kEnded && pending_ == Kind::kNone) return {Kind::kEnd, node_};
  if (!blind_since_) blind_since_ = now;
  unwell_.Skip();
  away_.Skip();
  waits_for_ = "the balancer does not answer how the nodes are: " + std::string(why);
  if (now - *blind_since_ < kBlindMax) return {};
  if (stage_ == Stage::kEnded) {
    OnOrder(false, why, now);
    return {Kind::kEnd, node_};
  }
  return End(
      net::CtlExit::kNotFound,
      std::string(why) + "; the rolling restart ends " +
          (stage_ == Stage::kBefore ? "between two nodes; "
                                    : "at " + node_ +
                                          ", which may be out (`list` shows it, `ready` brings it "
                                          "back); ") +
          GoOn(done_));
}

RolloutOrder Rollout::Before(std::span<const RolloutNode> nodes, const RolloutWish& wish,
                             net::Time now) {
  if (done_ == plan_.nodes.size()) {
    return End(net::CtlExit::kDone, "all " + std::to_string(done_) + " nodes of " + plan_.pool +
                                        " were restarted, are up and warm");
  }
  const std::string& next = plan_.nodes[done_];
  if (wish.aborted) {
    return End(net::CtlExit::kRefused, "aborted before " + next + "; " + std::to_string(done_) +
                                           " nodes were restarted; " + GoOn(done_));
  }
  if (wish.paused) {
    unwell_ = {};  // nobody looked meanwhile
    waits_for_ = "paused before " + next;
    return {};
  }
  if (Find(nodes, next) == nullptr) {
    return End(net::CtlExit::kRefused, next + " is no longer in pool " + plan_.pool + "; " +
                                           std::to_string(done_) + " nodes were restarted");
  }
  if (!plan_.force) {
    if (auto order = WaitForAll(nodes, next, now)) return *order;
  }
  node_ = next;
  incarnation_ = Find(nodes, next)->incarnation;
  restarted_ = false;
  for_good_ = false;
  return Order(Kind::kDrain);
}

// Nothing: all are well.
std::optional<RolloutOrder> Rollout::WaitForAll(std::span<const RolloutNode> nodes,
                                                const std::string& next, net::Time now) {
  const auto well = [](const RolloutNode& node) {
    return node.state == "up" && node.admin == "ready";
  };
  const auto unwell = std::ranges::find_if_not(nodes, well);
  if (unwell == nodes.end()) return std::nullopt;
  // What warms up comes to an end; what is down may stay so, or come and go.
  const auto down = std::ranges::find_if(
      nodes, [&](const RolloutNode& node) { return !well(node) && !Comes(node); });
  if (down == nodes.end()) {
    waits_for_ = "before " + next + ": " + StateOf(*unwell);
    if (unwell_.running()) unwell_.Hold(now);
    return RolloutOrder{};
  }
  waits_for_ = "before " + next + ": " + StateOf(*down);
  unwell_.Run(now);
  if (unwell_.total() < plan_.return_within) return RolloutOrder{};
  return End(net::CtlExit::kRefused, StateOf(*down) + ", for " + Whole(unwell_.total()) +
                                         " not all others were up, and " + next +
                                         " must not go beside that; mend it, and " + GoOn(done_));
}

RolloutOrder Rollout::Draining(std::span<const RolloutNode> nodes, const RolloutWish& wish,
                               net::Time now) {
  if (wish.aborted) {
    return GiveBack(net::CtlExit::kRefused, "aborted while " + node_ +
                                                " drained; it is ready "
                                                "again; " +
                                                GoOn(done_));
  }
  const RolloutNode* node = Find(nodes, node_);
  if (node == nullptr) {
    return End(net::CtlExit::kRefused,
               node_ + " left pool " + plan_.pool + " while it drained; " + GoOn(done_));
  }
  if (node->admin == "ready") {
    return End(net::CtlExit::kRefused,
               "the drain of " + node_ + " was ended by an order; " + GoOn(done_));
  }
  for (const RolloutNode& other : nodes) {
    if (other.name == node_ || plan_.force || Serves(other)) continue;
    if (for_good_) {  // given back it would stay out; it is the sooner back the sooner it restarts
      waits_for_ = StateOf(other) + ", but " + node_ +
                   " drains by itself, and only its restart brings it back";
      continue;
    }
    return GiveBack(net::CtlExit::kRefused, StateOf(other) + " while " + node_ + " drained, so " +
                                                node_ +
                                                " is ready again and was not restarted; mend " +
                                                other.name + ", and " + GoOn(done_));
  }
  if (node->active == 0) return Order(Kind::kMaint);
  if (now - entered_ < plan_.drain_deadline + kDrainGrace) return {};
  if (plan_.force) return Order(Kind::kMaint);
  return GiveBack(net::CtlExit::kDeadline,
                  node_ + " still has " + Connections(node->active) + " " + Whole(now - entered_) +
                      " after its drain began, so it is ready again and "
                      "was not restarted; see `list --connections --node " +
                      node_ + "`, and " + GoOn(done_));
}

RolloutOrder Rollout::Hook(const RolloutWish& wish) {
  aborting_ |= wish.aborted;
  if (restarted_ || aborting_) return Order(Kind::kReady);
  if (!wish.paused) return Order(Kind::kHook);
  waits_for_ = "paused before its restart";
  return {};
}

RolloutOrder Rollout::Asked(const RolloutWish& wish) {
  if (wish.aborted) {
    aborting_ = true;
    return Order(Kind::kReady);
  }
  if (wish.resumes <= resumes_) {
    resumes_ = std::min(resumes_, wish.resumes);
    return {};
  }
  restarted_ = true;
  return Order(Kind::kReady);
}

RolloutOrder Rollout::Returning(const RolloutNode* node, const RolloutWish& wish, net::Time now) {
  aborting_ |= wish.aborted;
  // With DNS a node that is away may be in no pool for a while.
  const bool serves = node != nullptr && Serves(*node);
  const bool same = serves && !incarnation_.empty() && node->incarnation == incarnation_;
  away_.Run(now);
  if (serves && (!same || plan_.force || aborting_)) {
    away_.Hold(now);
    Enter(Stage::kWarming, now);
    return Warming(node, wish, now);
  }
  waits_for_ = same ? "it has not been restarted yet (incarnation " + incarnation_ + ")"
               : node == nullptr ? "it is in no pool now"
                                 : StateOf(*node);
  const bool flaps = falls_ > kFallsMax;
  if (away_.total() < plan_.return_within && !flaps) return {};
  const std::string fell = std::to_string(falls_) + (falls_ == 1 ? " time" : " times");
  return End(net::CtlExit::kDeadline,
             same ? node_ + " answers as before " + Whole(away_.total()) +
                        " after its restart: its incarnation is still " + incarnation_ +
                        ", so nothing restarted it; see to the hook, and " + GoOn(done_)
                  : node_ +
                        (falls_ == 0 ? " did not come back within " + Whole(plan_.return_within)
                                     : " did not come back to stay: it fell " + fell +
                                           " while it warmed up, and was away for " +
                                           Whole(away_.total())) +
                        ": " + waits_for_ +
                        "; it gets connections when its checks say so; look at it, "
                        "and " +
                        (done_ + 1 < plan_.nodes.size() ? GoOn(done_ + 1) : "it was the last one"));
}

RolloutOrder Rollout::Warming(const RolloutNode* node, const RolloutWish& wish, net::Time now) {
  aborting_ |= wish.aborted;
  if (node == nullptr || !Serves(*node)) {  // it fell again
    ++falls_;
    Enter(Stage::kReturning, now);
    return Returning(node, wish, now);
  }
  if (aborting_) {
    if (restarted_) ++done_;
    return End(net::CtlExit::kRefused,
               "aborted; " + node_ +
                   (restarted_ ? " was restarted and is " : " was not restarted and is ") +
                   node->state + "; " + GoOn(done_));
  }
  if (node->state == "warming" || node->warmup < 1) {
    waits_for_ =
        std::to_string(static_cast<int>(std::clamp(node->warmup, 0.0, 1.0) * 100)) + "% warm";
    return {};
  }
  ++done_;
  Enter(Stage::kBefore, now);
  return {};
}

void Rollout::OnOrder(bool done, std::string_view why, net::Time now, bool for_good) {
  const Kind order = std::exchange(pending_, Kind::kNone);
  if (stage_ == Stage::kEnded) {  // given back
    if (!done) message_ += "; but " + node_ + " could not be made ready: " + std::string(why);
    return;
  }
  if (!done) {
    const std::string words = "the balancer refused to " +
                              std::string(order == Kind::kDrain   ? "drain "
                                          : order == Kind::kMaint ? "take out "
                                                                  : "take back ") +
                              node_ + ": " + std::string(why);
    End(net::CtlExit::kRefused, words + "; " + GoOn(done_));
    return;
  }
  switch (order) {
    case Kind::kDrain:
      for_good_ = for_good;
      return Enter(Stage::kDraining, now);
    case Kind::kMaint:
      resumes_ = UINT32_MAX;  // what was said before is not meant
      return Enter(plan_.hook ? Stage::kHook : Stage::kAsked, now);
    default:
      away_ = {};
      away_.Run(now);
      falls_ = 0;
      return Enter(Stage::kReturning, now);
  }
}

void Rollout::OnHook(bool done, std::string_view why, net::Time now) {
  pending_ = Kind::kNone;
  if (!done) {
    const std::string rest = done_ + 1 < plan_.nodes.size() ? "; then " + GoOn(done_ + 1) : "";
    End(net::CtlExit::kRefused,
        "the hook failed at " + node_ + ": " + std::string(why) +
            "; the node stays in maint. Look at it, and bring it back with: "
            "mongooselb ctl ready " +
            plan_.pool + "/" + node_ + rest);
    return;
  }
  Enter(Stage::kHook, now);
  restarted_ = true;
}

std::string Rollout::Text() const {
  std::string text = std::to_string(done_) + " of " + std::to_string(plan_.nodes.size()) + " nodes";
  if (stage_ == Stage::kEnded) return text + "; " + message_;
  if (stage_ != Stage::kBefore) text += "; " + node_ + ": " + std::string(RolloutStageName(stage_));
  if (stage_ == Stage::kDraining) text += ", " + Connections(left_) + " left";
  if (stage_ == Stage::kAsked) {
    text += ": restart it now, then: mongooselb ctl rollout resume " + plan_.pool;
  }
  return waits_for_.empty() ? text : text + "; " + waits_for_;
}

}  // namespace lb
