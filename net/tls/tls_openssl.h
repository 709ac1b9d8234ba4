// Internal to net_tls: a connection that OpenSSL handles, without a socket, for as long as it is
// needed: a handshake that is not ours to do, and all of a connection that cannot leave it
// (TLS 1.2, take_over = false). It stands beside the record layer, which may take the connection
// over from it after the handshake.
//
// A worker has one BIO (TlsBio). It is attached to an SSL for one call, reads straight from the
// caller's buffer and writes straight into the caller's other one; what does not fit there spills
// into the session. An idle SSL owns no BIO and, with SSL_MODE_RELEASE_BUFFERS, no buffers.
//
// Thread: the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/record/tls_capture.h"
#include "net/tls/record/tls_record_layer.h"
#include "net/tls/tls_types.h"

struct bio_st;
struct ssl_st;

namespace net {

std::string TlsHandshakeTooLong(size_t allowed);

// Output that waits for Flush().
class TlsSpill {
 public:
  // Output above this ends the connection: nothing we say by ourselves is that long.
  static constexpr size_t kMax = size_t{1} << 20;

  size_t size() const { return bytes_.size() - at_; }
  // To append to.
  std::vector<uint8_t>& bytes() { return bytes_; }
  size_t Take(std::span<uint8_t> out);

 private:
  std::vector<uint8_t> bytes_;
  size_t at_ = 0;
};

class TlsBio;

class TlsOpenSsl {
 public:
  // A worker's; outlives the connection, as the spill does.
  struct Shared {
    TlsBio* bio;
    TlsRecordPool* records;
  };

  // Null when there is no memory, or OpenSSL refuses.
  static std::unique_ptr<TlsOpenSsl> Server(const Shared& shared, TlsSpill* spill,
                                            std::shared_ptr<const TlsServerContext> context);
  static std::unique_ptr<TlsOpenSsl> Client(const Shared& shared, TlsSpill* spill,
                                            std::shared_ptr<const TlsClientContext> context,
                                            const TlsPeer& peer);
  ~TlsOpenSsl();
  TlsOpenSsl(const TlsOpenSsl&) = delete;
  TlsOpenSsl& operator=(const TlsOpenSsl&) = delete;

  // Takes from the front of `in`. Whatever stays there when left() is for the record layer, which
  // was started; else it must be fed again if `feed` says kAgain, and is nobody's after the end.
  void Feed(std::span<uint8_t>* in, TlsRecordLayer* layer, TlsFeed* feed, TlsPlaintext* plain);
  TlsSealed Write(std::span<const std::span<const uint8_t>> parts, std::span<uint8_t> out);
  // Queues close_notify; before the end of the handshake it fails the connection.
  void Shutdown();

  TlsState state() const { return state_; }
  // The record layer has the connection; this has nothing any more but what was found out.
  bool left() const { return ssl_ == nullptr; }
  TlsTakeOver take_over() const { return take_over_; }
  bool close_sent() const { return close_sent_; }
  bool resumed() const { return resumed_; }
  const std::string& error() const { return error_; }
  std::unique_ptr<TlsFacts> TakeFacts() { return std::move(facts_); }

 private:
  friend class TlsBio;
  TlsOpenSsl(const Shared& shared, TlsSpill* spill, bool is_server);

  void Capture();
  void Handshake(TlsRecordLayer* layer, TlsFeed* feed);
  void OnHandshakeDone(TlsRecordLayer* layer);
  void BindChannel();
  void Read(TlsRecordLayer* layer, TlsFeed* feed, TlsPlaintext* plain);
  TlsTakeOver WhyStay(TlsSuite* suite) const;
  void TryTakeOver(TlsRecordLayer* layer);
  void Decide(TlsTakeOver reason);
  void Fail();

  const Shared shared_;
  TlsSpill* spill_;
  ssl_st* ssl_ = nullptr;
  TlsState state_ = TlsState::kHandshaking;
  TlsTakeOver take_over_ = TlsTakeOver::kPending;
  const bool is_server_;
  bool close_sent_ = false;
  bool wrote_ = false;  // something was said to the peer
  bool resumed_ = false;
  std::shared_ptr<const TlsServerContext> server_;
  std::shared_ptr<const TlsClientContext> client_;
  std::optional<TlsCapture> capture_;  // until the take-over is decided
  size_t handshake_bytes_ = 0;
  std::unique_ptr<TlsFacts> facts_;
  std::string error_;
  std::string client_name_;  // server: KeepClientNameIn
  std::string session_key_;  // client: where its session is stored; "" for nowhere
};

class TlsBio {
 public:
  TlsBio();
  ~TlsBio();
  TlsBio(const TlsBio&) = delete;
  TlsBio& operator=(const TlsBio&) = delete;
  bool ok() const { return bio_ != nullptr; }

  // Between Attach and Detach `session` reads from `in` and writes to `out`, then to its spill.
  void Attach(TlsOpenSsl* session, std::span<uint8_t> in, std::span<uint8_t> out);
  void Detach();
  std::span<uint8_t> unread() const { return in_; }
  size_t produced() const { return produced_; }

  // Called by OpenSSL.
  int Read(char* to, int length);
  int Write(const char* from, int length);

 private:
  bio_st* bio_ = nullptr;
  TlsOpenSsl* session_ = nullptr;
  std::span<uint8_t> in_;
  std::span<uint8_t> out_;
  size_t produced_ = 0;
};

}  // namespace net
