// The other end: a server that stands for the nodes behind a balancer. One thread, one epoll.
//
//   auto     "GET n\n" at the start brings n bytes as fast as they go; anything else is echoed
//   echo     what comes is sent back
//   discard  what comes is counted and dropped
//   respond  the first bytes are answered with one line, then the connection is closed
//
// A slow reader's pending bytes are bounded: an echo connection reads no more until they are gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/endpoint.h"

namespace bench {

enum class SinkMode : std::uint8_t { kAuto, kEcho, kDiscard, kRespond };
const char* ToString(SinkMode mode);
std::expected<SinkMode, std::string> ParseSinkMode(std::string_view text);

struct SinkListen {
  Endpoint at;
  SinkMode mode = SinkMode::kAuto;
};

struct SinkStats {
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t open = 0;
  std::uint64_t accept_errors = 0;
  std::vector<std::uint64_t> accepted;  // per listener, in their order: where connections landed
};

class Sink {
 public:
  // The error names the address that cannot be listened on and why.
  static std::expected<std::unique_ptr<Sink>, std::string> Create(
      const std::vector<SinkListen>& listens, int backlog);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // Serves until `stop` is true (looked at ten times a second).
  void Run(const std::atomic<bool>& stop);
  // Only when Run() is over.
  const SinkStats& Stats() const { return stats_; }
  // Where it really listens, in the order of `listens`: port 0 has become a port.
  std::vector<Endpoint> Bound() const;

 private:
  struct Peer {
    bool open = false;
    bool read_ended = false;
    bool decided = false;  // auto: source or echo has been chosen
    SinkMode mode = SinkMode::kAuto;
    std::uint64_t to_send = 0;  // source
    std::string pending;        // echo: received and not yet sent; auto: the first line so far
  };

  Sink();
  void AcceptAll(std::size_t listener);
  void OnEvent(int fd, std::uint32_t events);
  void Read(int fd, Peer& peer);
  // The three return false when the connection is gone or must wait for room to send.
  bool TakeIn(int fd, Peer& peer, std::size_t received);
  bool Decide(int fd, Peer& peer, std::size_t received);
  bool Flush(int fd, Peer& peer);
  bool SendBulk(int fd, Peer& peer);
  bool EchoBack(int fd, Peer& peer, std::size_t received);
  void Close(int fd, Peer& peer);

  int epoll_ = -1;
  std::vector<int> listeners_;
  std::vector<SinkMode> modes_;
  std::vector<Peer> peers_;  // by descriptor
  std::vector<char> buffer_;
  std::string pattern_;
  SinkStats stats_;
};

}  // namespace bench
