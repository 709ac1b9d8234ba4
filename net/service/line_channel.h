// Lines between two processes over a socket pair: what an old process and its successor tell each
// other after the hand-over (hand_over.h).
//
// Loop's thread only; never blocks. A line that is not taken within the bound of what may wait ends
// the channel: the other end does not read.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "net/service/fd_watch.h"

namespace net {

inline constexpr size_t kChannelLineMax = 1U << 20U;     // of one line that is read
inline constexpr size_t kChannelBacklogMax = 4U << 20U;  // written and not yet taken

class LineChannel {
 public:
  using OnLine = std::function<void(std::string_view)>;  // without its end; may destroy the channel
  using OnEnd = std::function<void()>;  // once; the other end is gone; may destroy the channel

  LineChannel(EventLoop& loop, UniqueFd fd, OnLine on_line, OnEnd on_end);
  ~LineChannel();
  LineChannel(const LineChannel&) = delete;
  LineChannel& operator=(const LineChannel&) = delete;

  // The end of the line is added. Without effect after the end.
  void Send(std::string_view line);
  bool open() const { return watch_ != nullptr; }

 private:
  void Read();
  void Write();
  void End();

  EventLoop& loop_;
  OnLine on_line_;
  OnEnd on_end_;
  std::unique_ptr<FdWatch> watch_;
  std::string in_;
  std::string out_;
  EventLoop::TimerId retry_{};
  bool retrying_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace net
