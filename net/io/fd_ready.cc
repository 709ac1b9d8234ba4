#include "net/io/fd_ready.h"

#include <poll.h>

#include <utility>

namespace net {

// Outlives its owner until the kernel has let go of the descriptor.
class FdReady::State final : public Target, public std::enable_shared_from_this<State> {
 public:
  State(EventLoop& loop, Callback on_ready) : loop_(loop), on_ready_(std::move(on_ready)) {}

  void Await(int fd, uint32_t events) {
    fd_ = fd;
    events_ = events;
    if (self_ == nullptr) {
      Arm();
    } else {
      Leave();
    }
  }
  void Stop() {
    fd_ = -1;
    if (self_ != nullptr) Leave();
  }
  void End() {
    on_ready_ = nullptr;
    Stop();
  }

  void OnCompletion(unsigned, Completion completion) override {
    const std::shared_ptr<State> keep = std::exchange(self_, nullptr);
    loop_.Release();
    const bool left = std::exchange(leaving_, false);
    if (fd_ < 0) return;
    // Of another file, or for other events: what is ready now is told at once.
    if (left) {
      Arm();
      return;
    }
    fd_ = -1;
    const Callback call = on_ready_;  // it may end us
    call(completion.result < 0 ? uint32_t{POLLERR} : static_cast<uint32_t>(completion.result));
  }

 private:
  void Arm() {
    self_ = shared_from_this();
    loop_.Hold();
    loop_.ring().PollFdOnce(fd_, events_, {this, 0});
  }
  void Leave() {
    if (!std::exchange(leaving_, true)) loop_.ring().Cancel({this, 0});
  }

  EventLoop& loop_;
  Callback on_ready_;
  int fd_ = -1;  // awaited; -1 for none
  uint32_t events_ = 0;
  bool leaving_ = false;         // what is in flight is for something else
  std::shared_ptr<State> self_;  // while the poll is in flight
};

FdReady::FdReady(EventLoop& loop, Callback on_ready)
    : state_(std::make_shared<State>(loop, std::move(on_ready))) {}
FdReady::~FdReady() { state_->End(); }
void FdReady::Await(int fd, uint32_t events) { state_->Await(fd, events); }
void FdReady::Stop() { state_->Stop(); }

}  // namespace net
