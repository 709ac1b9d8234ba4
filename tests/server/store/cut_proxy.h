// A way to a server that can be cut at the worst moments. A port on 127.0.0.1, a socket of the
// other side's; one thread for all connections.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

namespace server::test {

class CutProxy {
 public:
  explicit CutProxy(std::string socket_path);
  ~CutProxy();
  CutProxy(const CutProxy&) = delete;
  CutProxy& operator=(const CutProxy&) = delete;

  int port() const { return port_; }

  enum class Cut : uint8_t {
    kNone,
    kRequest,  // what the client sends next does not arrive
    kHalf,     // half of it does
    kAnswer,   // it arrives, and its answer does not
    kRefuse,   // nobody is let in, and who is in is thrown out
  };
  // Once, for the next request whose rows hold the words "cut me"; kRefuse until it is another.
  void Arm(Cut cut) { armed_ = cut; }
  Cut armed() const { return armed_; }
  int cuts() const { return cuts_; }
  size_t pairs() const { return open_; }  // connections that are there

 private:
  void Loop();

  const std::string socket_path_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<Cut> armed_{Cut::kNone};
  std::atomic<int> cuts_{0};
  std::atomic<size_t> open_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace server::test
