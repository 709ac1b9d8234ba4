#include "net/service/fd_watch.h"

namespace net {

// Outlives the watch until the kernel has let go of the descriptor.
class FdWatch::State final : public Target, public std::enable_shared_from_this<State> {
 public:
  State(EventLoop& loop, UniqueFd fd, uint32_t events, std::function<void()> on_ready)
      : loop_(loop), fd_(std::move(fd)), events_(events), on_ready_(std::move(on_ready)) {}

  void Arm() {
    self_ = shared_from_this();
    loop_.Hold();
    loop_.ring().PollFd(fd_.get(), events_, {this, 0});
  }

  void Stop() {
    on_ready_ = nullptr;
    if (self_) loop_.ring().Cancel({this, 0});
  }

  int fd() const { return fd_.get(); }

  void OnCompletion(unsigned, Completion completion) override {
    auto keep = shared_from_this();
    if (!completion.more()) {
      self_.reset();
      loop_.Release();
    }
    if (on_ready_) {
      const auto call = on_ready_;  // it may stop us
      call();
    }
    if (on_ready_ && !self_) Arm();
  }

 private:
  EventLoop& loop_;
  UniqueFd fd_;
  const uint32_t events_;
  std::function<void()> on_ready_;
  std::shared_ptr<State> self_;  // while the poll is in flight
};

FdWatch::FdWatch(EventLoop& loop, UniqueFd fd, uint32_t events, std::function<void()> on_ready)
    : state_(std::make_shared<State>(loop, std::move(fd), events, std::move(on_ready))) {
  state_->Arm();
}

FdWatch::~FdWatch() { state_->Stop(); }

int FdWatch::fd() const { return state_->fd(); }

}  // namespace net
