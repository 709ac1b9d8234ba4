#include "net/service/program.h"

#include <csignal>
#include <cstdio>
#include <utility>

#include "net/report/log.h"

namespace net {
namespace {

// Between the processes: the service manager has been told of the new main one (hand_over.h).
constexpr std::string_view kMainLine = "main";
constexpr Duration kDrainWithin = std::chrono::seconds(2);

}  // namespace

void Program::Prepare(std::initializer_list<int> signals) {
  signal(SIGPIPE, SIG_IGN);
  BlockSignals(signals);
}

SuccessorProgram Program::Self(const char* argv0, std::vector<std::string> arguments) {
  return {.path = ProgramPath(argv0), .name = argv0, .arguments = std::move(arguments)};
}

Program::Program(SuccessorProgram self, Options options, int inherit_fd)
    : self_(std::move(self)), options_(std::move(options)), predecessor_(inherit_fd) {}

Program::~Program() {
  LeaveOthers();
  Silence();
}

int Program::Refuse(std::string_view why) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(why.size()), why.data());
  if (predecessor_) TellFailed(predecessor_.get(), why);
  return kFailed;
}

std::expected<void, std::string> Program::MakeLoop() {
  auto loop = EventLoop::Create({}, clock_);
  if (!loop) return std::unexpected(options_.name + ": " + loop.error());
  loop_ = std::move(*loop);
  return {};
}

std::expected<Inheritance, std::string> Program::Inherit() {
  if (!predecessor_) return Inheritance();
  auto taken = TakeOver(predecessor_.get());
  if (!taken) return std::unexpected(options_.name + ": cannot take over: " + taken.error());
  return taken;
}

void Program::Serve(std::initializer_list<int> signals, Orders orders) {
  orders_ = std::move(orders);
  signals_ =
      std::make_unique<SignalWatcher>(*loop_, signals, [this](int signal) { OnSignal(signal); });
  service_ = std::make_unique<ServiceManager>(*loop_, orders_.status, !inherits());
}

void Program::OnSignal(int signal) {
  switch (signal) {
    case SIGHUP:
      orders_.reload();
      break;
    case SIGTERM:
    case SIGINT:
      std::exchange(told_to_stop_, true) ? orders_.stop_now() : orders_.stop();
      break;
    default:
      orders_.other(signal);
  }
}

void Program::Running() {
  if (predecessor_) {
    TellReady(predecessor_.get());
    from_predecessor_ = std::make_unique<LineChannel>(
        *loop_, std::move(predecessor_),
        [this](std::string_view line) {
          if (line == kMainLine) {
            service_->BecomeMain();
          } else {
            orders_.from_predecessor(line);
          }
        },
        // One that does not know the word ends without it.
        [this] {
          service_->BecomeMain();
          orders_.predecessor_left();
        });
  }
  service_->Ready();
}

void Program::Reloading() {
  if (service_) service_->Reloading();
}

void Program::Reloaded() {
  if (service_) service_->Ready();
}

void Program::Stopping() {
  if (service_) service_->Stopping();
}

void Program::Upgrade(const std::string& path, Inheritance inheritance, UpgradeDone done) {
  SuccessorProgram program = self_;
  if (!path.empty()) program.path = path;
  hand_over_ = std::make_unique<HandOver>(
      *loop_, program, std::move(inheritance),
      [this, done = std::move(done)](auto successor) mutable { OnHandOver(successor, done); },
      HandOverOptions{.ready_within = options_.successor_within});
}

// Out of line: g++ 12 warns of the expected's value in the branch that has one.
[[gnu::noinline]] void Program::OnHandOver(
    std::expected<HandOver::Successor, std::string>& successor, UpgradeDone& done) {
  if (!successor) {
    Log(LogLevel::kError, options_.part, "upgrade failed; this process goes on",
        {{"reason", successor.error()}});
    done(std::unexpected(successor.error() + "\nthis process goes on"));
    return;
  }
  const pid_t pid = successor->pid;
  service_->HandOver(pid);
  // Only now may the new one speak to the service manager: before, it was not the main process.
  to_successor_ = std::make_unique<LineChannel>(
      *loop_, std::move(successor->channel),
      [this](std::string_view line) { orders_.from_successor(line); }, [] {});
  to_successor_->Send(kMainLine);
  done(pid);
}

void Program::TellPredecessor(std::string_view line) {
  if (from_predecessor_) from_predecessor_->Send(line);
}

void Program::TellSuccessor(std::string_view line) {
  if (to_successor_) to_successor_->Send(line);
}

void Program::LeaveOthers() {
  hand_over_.reset();
  from_predecessor_.reset();
  to_successor_.reset();
}

void Program::Silence() {
  service_.reset();
  signals_.reset();
}

void Program::Drain() {
  if (auto drained = loop_->Drain(kDrainWithin); !drained) {
    Log(LogLevel::kWarn, options_.part, "ended while operations were under way",
        {{"waited_for", drained.error()}});
  }
}

}  // namespace net
