#include "lb/admin/rolling_restart.h"

#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lb/admin/ctl_commands.h"
#include "lb/admin/rollout.h"
#include "lb/admin/rollout_hook.h"
#include "lb/admin/rollout_wire.h"
#include "net/base/clock.h"
#include "net/ctl/ctl_line.h"
#include "net/ctl/ctl_text.h"

namespace lb {
namespace {

constexpr net::Duration kLookEvery = std::chrono::milliseconds(500);
constexpr net::Duration kReportEvery = std::chrono::seconds(1);
constexpr net::Duration kTellEvery = std::chrono::seconds(5);  // while only numbers change
constexpr net::Duration kHookTermGrace = std::chrono::seconds(10);
// Behind what left a node where it was.
constexpr const char* kLookAtIt =
    "; `list` shows how the nodes are, and `ready` brings back one that is out";
constexpr double kDeadlineDefaultS = 600;
constexpr double kHookWithinDefaultS = 600;
constexpr double kReturnWithinDefaultS = 300;

// How often we were told to end.
volatile sig_atomic_t g_interrupts = 0;

// A terminal that goes away says so twice, by its shell and by the kernel: that is not told twice.
void OnInterrupt(int signal) {
  if (signal != SIGHUP || g_interrupts == 0) g_interrupts = g_interrupts + 1;
}

void CatchSignals() {
  struct sigaction action{};
  action.sa_handler = OnInterrupt;  // without SA_RESTART: what waits wakes
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_IGN;  // who reads our lines may leave; the nodes must not be left out
  sigaction(SIGPIPE, &action, nullptr);
}

net::Duration TimeOf(const net::CtlValues& values, std::string_view name, double fallback_s) {
  return std::chrono::duration_cast<net::Duration>(
      std::chrono::duration<double>(values.Number(name).value_or(fallback_s)));
}

std::vector<std::string> Names(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (comma > 0) names.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return names;
}

net::CtlValues Request(std::string_view command) {
  return {.command = FindCtlCommand(command), .values = {}};
}

class Leader {
 public:
  explicit Leader(net::CtlClient& client) : client_(client), given_(client.line().values) {}

  int Run() {
    pool_ = given_.Text("pool");
    auto nodes = Nodes();
    if (!nodes) return client_.Fail(CtlExit::kNotFound, nodes.error());
    RolloutPlan plan{.pool = pool_,
                     .nodes = Names(given_.Text("nodes")),
                     .drain_deadline = TimeOf(given_, "deadline", kDeadlineDefaultS),
                     .return_within = TimeOf(given_, "return-within", kReturnWithinDefaultS),
                     .hook = given_.Has("hook"),
                     .force = given_.Flag("force")};
    if (plan.nodes.empty() && given_.Has("nodes")) {
      return client_.Fail(CtlExit::kUsage, "--nodes names no node");
    }
    if (plan.nodes.empty()) {
      for (const RolloutNode& node : *nodes) plan.nodes.push_back(node.name);
    }
    for (auto at = plan.nodes.begin(); at != plan.nodes.end(); ++at) {
      if (std::find(at + 1, plan.nodes.end(), *at) != plan.nodes.end()) {
        return client_.Fail(CtlExit::kUsage, "--nodes names " + *at + " twice");
      }
    }
    for (const std::string& name : plan.nodes) {
      if (std::ranges::find(*nodes, name, &RolloutNode::name) == nodes->end()) {
        return client_.Fail(CtlExit::kNotFound, "pool " + pool_ + " has no node " + name);
      }
    }
    rollout_.emplace(std::move(plan));
    const std::string refusal = rollout_->Refusal(*nodes);
    if (given_.Flag("dry-run")) return DryRun(*nodes, refusal);
    if (!refusal.empty()) return client_.Fail(CtlExit::kRefused, refusal);
    leader_ =
        "pid " + std::to_string(getpid()) + " of uid " + std::to_string(getuid()) + ", " + Token();
    if (auto taken = Report(); !taken.empty()) return client_.Fail(CtlExit::kRefused, taken);
    CatchSignals();
    return Lead();
  }

 private:
  using Kind = RolloutOrder::Kind;

  // So that a process that gets the same number is not taken for this one.
  static std::string Token() {
    uint32_t token = 0;
    static_cast<void>(getrandom(&token, sizeof token, 0));
    char text[16];
    std::snprintf(text, sizeof text, "%08x", token);
    return text;
  }

  std::expected<std::vector<RolloutNode>, std::string> Nodes() const {
    auto reply = client_.Ask(net::CtlRequestLine(Request("list")));
    if (!reply) return std::unexpected(reply.error());
    return RolloutNodesOf(*reply, pool_);
  }

  // An order for the node where the rollout is.
  net::CtlValues NodeOrder(std::string_view command, const std::string& node) const {
    net::CtlValues order = Request(command);
    order.values["node"].text = pool_ + "/" + node;
    return order;
  }

  net::CtlValues DrainOrderFor(const std::string& node) const {
    net::CtlValues order = NodeOrder("drain", node);
    if (auto rate = given_.Number("rate")) order.values["rate"].number = *rate;
    order.values["deadline"].number = net::Seconds(rollout_->plan().drain_deadline);
    order.values["force"].flag = rollout_->plan().force;
    return order;
  }

  int DryRun(const std::vector<RolloutNode>& nodes, const std::string& refusal) const {
    std::vector<std::string> lines = {"rolling restart of pool " + pool_ +
                                      ", one node after another:"};
    std::string in_the_way = refusal;
    for (const std::string& name : rollout_->plan().nodes) {
      const auto node = std::ranges::find(nodes, name, &RolloutNode::name);
      if (node == nodes.end()) continue;
      net::CtlValues order = DrainOrderFor(name);
      order.values["dry-run"].flag = true;
      auto reply = client_.Ask(net::CtlRequestLine(order));
      if (!reply) return client_.Fail(CtlExit::kNotFound, reply.error());
      const RolloutAnswer answer = RolloutAnswerOf(*reply);
      if (!answer.done && in_the_way.empty()) in_the_way = name + ": " + answer.words;
      lines.push_back("  " + name + " (" + node->state + ", " +
                      net::Counted(node->active, "connection", "connections") + "): drain within " +
                      net::SpanText(net::Seconds(rollout_->plan().drain_deadline)) +
                      (rollout_->plan().hook ? ", restart by the hook" : ", restart by you") +
                      ", checks, warm-up" + (answer.done ? "" : "; REFUSED: " + answer.words));
    }
    lines.emplace_back("nothing was done");
    for (const std::string& line : lines) Say(line);
    if (!in_the_way.empty()) return client_.Fail(CtlExit::kRefused, in_the_way);
    if (!client_.line().json) return static_cast<int>(CtlExit::kDone);
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
    return Finish({.message = text});
  }

  int Lead() {
    while (true) {
      const net::Time now = clock_.Now();
      const auto nodes = Nodes();
      RolloutWish wish = wish_;
      wish.aborted |= g_interrupts > 0;
      const RolloutOrder order =
          nodes ? rollout_->Look(*nodes, wish, now) : rollout_->LookBlind(nodes.error(), now);
      Tell();
      if (auto lost = Report(); !lost.empty()) {
        return client_.Fail(CtlExit::kRefused, lost + "; this one goes no further, and was at: " +
                                                   rollout_->Text() + kLookAtIt);
      }
      if (order.kind == Kind::kEnd) return End();
      if (g_interrupts > 1) return Left();
      if (order.kind == Kind::kNone) {
        Rest(kLookEvery);
      } else if (order.kind == Kind::kHook) {
        if (!RunHook(nodes ? *nodes : std::vector<RolloutNode>())) return Left();
      } else {
        CarryOut(order);
      }
    }
  }

  void CarryOut(const RolloutOrder& order) {
    const net::CtlValues request = order.kind == Kind::kDrain   ? DrainOrderFor(order.node)
                                   : order.kind == Kind::kMaint ? NodeOrder("maint", order.node)
                                                                : NodeOrder("ready", order.node);
    auto reply = client_.Ask(net::CtlRequestLine(request));
    if (!reply) {
      static_cast<void>(rollout_->LookBlind(reply.error(), clock_.Now()));
      return Rest(kLookEvery);  // it is given again
    }
    const RolloutAnswer answer = RolloutAnswerOf(*reply);
    if (answer.done && !answer.words.empty()) Say(answer.words);
    rollout_->OnOrder(answer.done, answer.words, clock_.Now(), answer.for_good);
  }

  // False: told twice to end, while it ran.
  bool RunHook(const std::vector<RolloutNode>& nodes) {
    const std::string& name = rollout_->node();
    const auto node = std::ranges::find(nodes, name, &RolloutNode::name);
    Say(name + ": runs the hook");
    auto hook = RolloutHook::Start(
        given_.Text("hook"), {{"MONGOOSELB_NODE", name},
                              {"MONGOOSELB_POOL", pool_},
                              {"MONGOOSELB_ADDRESS", node == nodes.end() ? "" : node->address},
                              {"MONGOOSELB_SOCKET", client_.line().socket}});
    if (!hook) {
      rollout_->OnHook(false, hook.error(), clock_.Now());
      return true;
    }
    const net::Duration within = TimeOf(given_, "hook-within", kHookWithinDefaultS);
    const net::Time deadline = clock_.Now() + within;
    bool told = false;
    bool killed = false;
    bool heard = false;
    std::string lost;
    std::optional<std::string> ended;
    while (!(ended = hook->Wait(kReportEvery))) {
      if (g_interrupts > 1) {
        hook_left_ = hook->pid();
        return false;
      }
      if (g_interrupts > 0 && !std::exchange(heard, true)) {
        Say("told to end: the hook is waited for, and " + name +
            " brought back; once more ends this here, and leaves the hook running");
      }
      // What is not said twice: Lead() ends by it behind the hook.
      if (std::string now_lost = Report(); now_lost != lost) Say(lost = std::move(now_lost));
      const net::Time now = clock_.Now();
      if (now >= deadline && !std::exchange(told, true)) hook->Signal(SIGTERM);
      if (now >= deadline + kHookTermGrace && !std::exchange(killed, true)) hook->Signal(SIGKILL);
    }
    if (told) {
      ended = "it was ended after " + net::SpanText(net::Seconds(within)) +
              (ended->empty() ? "" : " (" + *ended + ")");
    }
    rollout_->OnHook(ended->empty(), *ended, clock_.Now());
    return true;
  }

  // Tells the balancer how it goes, and hears what is wanted. Why this does not lead any more, or
  // ""; a balancer that is away for a moment is no reason.
  // `left`: that it goes no further, and where it was.
  std::string Report(const std::string& left = "") {
    net::CtlValues report = Request("rollout report");
    report.values["pool"].text = pool_;
    report.values["leader"].text = leader_;
    report.values["text"].text = left.empty() ? rollout_->Text() : left;
    report.values["ended"].flag = !left.empty() || rollout_->stage() == RolloutStage::kEnded;
    report.values["paused"].flag = wish_.paused;
    report.values["resumes"].number = wish_.resumes;
    auto reply = client_.Ask(net::CtlRequestLine(report));
    if (!reply) return "";
    const RolloutAnswer answer = RolloutAnswerOf(*reply);
    if (!answer.done) return answer.words;
    const bool aborted = wish_.aborted;
    wish_ = answer.wish;
    wish_.aborted |= aborted;
    return "";
  }

  // How it goes, when there is something new.
  void Tell() {
    const std::string text = rollout_->Text();
    const std::string step = rollout_->node() + std::string(RolloutStageName(rollout_->stage()));
    const net::Time now = clock_.Now();
    if (text == told_text_ || (step == told_step_ && now - told_at_ < kTellEvery)) return;
    told_text_ = text;
    told_step_ = step;
    told_at_ = now;
    if (rollout_->stage() == RolloutStage::kEnded) return;  // End() says it
    if (client_.line().json) {
      std::printf("%s\n", RolloutProgressJson(*rollout_).c_str());
      std::fflush(stdout);
    } else {
      Say(text);
    }
  }

  // For people.
  void Say(const std::string& text) const {
    if (text.empty() || client_.line().json) return;
    std::printf("%s\n", net::ForTerminal(text).c_str());
    std::fflush(stdout);
  }

  // A signal ends it.
  static void Rest(net::Duration time) {
    poll(nullptr, 0,
         static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()));
  }

  int Finish(const CtlReply& reply) const {
    std::string line = net::CtlReplyLine(reply);
    line.pop_back();  // its newline
    return client_.Finish(line);
  }

  int End() const {
    return Finish({.exit = rollout_->exit(),
                   .message = rollout_->message(),
                   .object = "{\"restarted\":" + std::to_string(rollout_->done()) + "}"});
  }

  int Left() {
    const std::string hook =
        hook_left_ > 0 ? "; the hook goes on as process " + std::to_string(hook_left_) : "";
    const std::string text = "left where it was: " + rollout_->Text() + hook;
    static_cast<void>(Report(text));
    return client_.Fail(CtlExit::kRefused, text + kLookAtIt);
  }

  net::CtlClient& client_;
  const net::CtlValues& given_;
  net::SystemClock clock_;
  std::string pool_;
  std::string leader_;
  std::optional<Rollout> rollout_;
  RolloutWish wish_;
  std::string told_text_;
  std::string told_step_;
  net::Time told_at_{};
  int hook_left_ = 0;  // the process that was left running
};

}  // namespace

int RunRollingRestart(net::CtlClient& client) { return Leader(client).Run(); }

}  // namespace lb
