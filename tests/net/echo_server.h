// The smallest server on net/conn: it sends back what it is sent, in the clear or over TLS, reads
// no faster than its peer does, and ends as its peer ends. What a real one starts from.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "net/conn/conn_worker.h"
#include "net/io/stream.h"

namespace net::test {

class EchoServer final : public ConnHost {
 public:
  // Serves what comes to `listener` on the worker's loop.
  EchoServer(ConnWorker& worker, UniqueFd listener, int32_t name_bytes, ConnTls tls = {})
      : worker_(worker),
        name_bytes_(name_bytes),
        tls_(std::move(tls)),
        acceptor_(worker.event_loop(), std::move(listener), [this](Slot slot) { Accept(slot); }) {}

  void OnOpen(Conn&, std::unique_ptr<TlsFacts> facts) override {
    ++opened;
    if (facts != nullptr) ++secured;
  }
  void OnBytes(Conn& conn, std::span<uint8_t> bytes) override {
    if (conn.Send(bytes) == Conn::Sent::kFull) conn.Pause();
  }
  void OnWritable(Conn& conn) override { conn.Resume(); }
  void OnEnd(Conn& conn, PeerEnd end) override {
    if (end == PeerEnd::kTruncated) ++truncated;
    conn.Shutdown();
  }
  void OnClosed(Conn&, const Ended& ended) override { ++closed[ended.reason]; }

  uint32_t opened = 0;
  uint32_t secured = 0;
  uint32_t truncated = 0;
  std::map<EndReason, uint32_t> closed;

 private:
  void Accept(Slot slot) {
    if (worker_.Accept(slot, nullptr, name_bytes_, *this, tls_) == nullptr) {
      worker_.event_loop().ring().Close(slot);
    }
  }

  ConnWorker& worker_;
  const int32_t name_bytes_;
  const ConnTls tls_;
  Acceptor acceptor_;
};

}  // namespace net::test
