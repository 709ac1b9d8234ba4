#include "net/service/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "net/base/check.h"
#include "net/io/socket.h"

namespace net {
namespace {

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockSignals(std::initializer_list<int> signals) {
  const sigset_t set = SetOf(signals);
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
}

class SignalWatcher::State final : public Target, public std::enable_shared_from_this<State> {
 public:
  State(EventLoop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal)
      : loop_(loop), on_signal_(std::move(on_signal)) {
    const sigset_t set = SetOf(signals);
    fd_ = UniqueFd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    CHECK(fd_);
  }

  void Arm() {
    self_ = shared_from_this();
    loop_.Hold(EventLoop::Work::kSignals);
    loop_.ring().PollFd(fd_.get(), POLLIN, {this, 0});
  }

  void Stop() {
    on_signal_ = nullptr;
    if (self_) loop_.ring().Cancel({this, 0});
  }

  void OnCompletion(unsigned, Completion completion) override {
    auto keep = self_;
    if (!completion.more()) {
      self_.reset();
      loop_.Release(EventLoop::Work::kSignals);
    }
    signalfd_siginfo info{};
    while (on_signal_ && read(fd_.get(), &info, sizeof info) == sizeof info) {
      on_signal_(static_cast<int>(info.ssi_signo));
    }
    if (on_signal_ && !self_) Arm();
  }

 private:
  EventLoop& loop_;
  std::function<void(int)> on_signal_;
  UniqueFd fd_;
  std::shared_ptr<State> self_;
};

SignalWatcher::SignalWatcher(EventLoop& loop, std::initializer_list<int> signals,
                             std::function<void(int)> on_signal)
    : state_(std::make_shared<State>(loop, signals, std::move(on_signal))) {
  state_->Arm();
}

SignalWatcher::~SignalWatcher() { state_->Stop(); }

}  // namespace net
