// TLS for one connection, without a socket: bytes in, bytes out. One interface for both roles, for
// TLS 1.2 and 1.3, and for both places where records are handled (OpenSSL, or our own layer after
// the handshake); a relay never asks which.
//
//   relay received ciphertext:  feed = engine->Feed(bytes, &plain);  send plain onwards, again with
//                               the rest of the bytes while feed.next == TlsNext::kAgain
//   relay received plaintext:   io = engine->Write(parts, out);      send out[0, io.produced)
//   any time after a call:      while (engine->wants_output()) n = engine->Flush(out); send it
//   peer half-closed upstream:  engine->Shutdown(), then Flush
//
// A server engine waits for input; a client engine wants_output() from its first Feed({}) on, which
// starts the handshake.
//
// Life of a connection, step by step:
//   1. worker.NewServer(context) or NewClient(context, peer) → kHandshaking
//   2. Feed() until state() is kOpen. Output may be wanted after every call, also after failure:
//      the alert. The result says handshake_done once; TakeFacts() then has SNI, ALPN, certificate,
//      channel bindings. Plaintext may come in the same call.
//   3. Data. A server shakes hands itself where it can (tls_handshake.h), else by OpenSSL, which a
//      TLS 1.3 connection leaves after the handshake: a server at once, a client at the first data
//      record, after the tickets that it wants to keep. take_over() says whether and why not.
//   4. kPeerClosed: close_notify came; Write() still works (half-close). kFailed: Flush the alert,
//      then close. closed() tells when nothing more goes either way.
//   5. Let go of the TlsEnginePtr: keys are wiped, buffers go back.
//
// Buffers. Feed() decrypts in place: `plain` points into the caller's buffer and into staging of
// the worker, valid until the next Feed() or Release() on this engine. So: keep the receive buffer
// until the onward send has completed, call Release(), then receive on. Write() never keeps what it
// is given. A send of Write's output that was cut short resends the rest of the same bytes.
//
// Cost. On the data path of the own record layer nothing is allocated, but staging from the
// worker's pool while a record has come in part. OpenSSL allocates as it likes (handshakes, TLS
// 1.2).
//
// Memory at rest, TLS 1.3: one TlsEngine in the worker's slab, 248 bytes and nothing else:
//     8  worker_        the worker, with pools and counters
//     8  session_       null at rest
//   224  records_.state_: rx and tx of 104 (sequence 8, secret 48, key 32, iv 12, padding 4),
//                       limits and half-read messages 16
//     8  records_.staging_  null at rest
// TLS 1.2 and refused connections add OpenSSL's own 14 KB.
//
// Thread: the worker's. Not copyable, not movable: the slab's address is its identity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/record/tls_record_layer.h"
#include "net/tls/tls_types.h"

namespace net {

class TlsBio;
class TlsEngine;
class TlsHandshaker;
class TlsWorker;
struct TlsSession;

struct TlsEngineDeleter {
  void operator()(TlsEngine* engine) const;
};
using TlsEnginePtr = std::unique_ptr<TlsEngine, TlsEngineDeleter>;

// All that the engines of one worker share. Outlives them.
class TlsWorker {
 public:
  static std::expected<std::unique_ptr<TlsWorker>, std::string> Create();
  ~TlsWorker();

  // Null when there is no memory.
  TlsEnginePtr NewServer(std::shared_ptr<const TlsServerContext> context);
  TlsEnginePtr NewClient(std::shared_ptr<const TlsClientContext> context, const TlsPeer& peer);

  // At the end of a loop turn: puts zeros in place of the keys that were used.
  void EndTurn();
  // True once after a storm: kTrimAfter handshakes ended since the last time and none is going on.
  // OpenSSL's freed memory then lies scattered in the heap; call malloc_trim(0) when idle.
  static constexpr uint64_t kTrimAfter = 1000;
  bool HeapTrimDue();

  TlsRecordPool& records() { return *records_; }
  const TlsCounters& counters() const { return counters_; }
  size_t engines() const { return engines_; }
  size_t handshaking() const { return handshaking_; }
  size_t on_openssl() const { return on_openssl_; }

 private:
  friend class TlsEngine;
  friend struct TlsEngineDeleter;
  TlsWorker();
  TlsEngine* Allocate();

  static constexpr size_t kChunk = 64;  // engines a slab chunk
  union Slot;
  std::vector<std::unique_ptr<Slot[]>> chunks_;
  Slot* free_ = nullptr;
  std::unique_ptr<TlsRecordPool> records_;
  std::unique_ptr<TlsHandshaker> handshaker_;  // null where OpenSSL lacks what it needs
  std::unique_ptr<TlsBio> bio_;
  TlsCounters counters_;
  size_t engines_ = 0;
  size_t handshaking_ = 0;
  size_t on_openssl_ = 0;
  uint64_t ended_handshakes_ = 0;
};

class TlsEngine {
 public:
  static constexpr size_t kHandshakeBytesMax = kTlsHandshakeBytesMax;
  static constexpr size_t kHelloBytesMax = kTlsHelloBytesMax;

  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  // A client's handshake begins with a call without input.
  TlsFeed Feed(std::span<uint8_t> in, TlsPlaintext* plain);
  void Release();

  // Seals what fits into `out`, pending output first. Give at least 16406 + 64 bytes of room for
  // whole records; less makes smaller ones. Consumes nothing before kOpen, after Shutdown() and
  // after failure.
  TlsSealed Write(std::span<const std::span<const uint8_t>> parts, std::span<uint8_t> out);

  bool wants_output() const;
  size_t Flush(std::span<uint8_t> out);

  // Queues close_notify. During the handshake it fails the connection.
  void Shutdown();

  TlsState state() const;
  TlsDriver driver() const;
  // A handshake under way that has done its work, and holds next to nothing while it waits for the
  // peer's last message.
  bool waits_lightly() const;
  bool closed() const;  // both directions ended and nothing is left to flush
  TlsTakeOver take_over() const;

  // Of the finished handshake; null before it and after it was taken. Take it soon: it holds some
  // kilobytes.
  std::unique_ptr<TlsFacts> TakeFacts();

  // What went wrong, for the log: "certificate verify failed", "bad_record_mac", "peer sent alert
  // 48". Empty when nothing did. Never holds secrets.
  std::string ErrorText() const;

 private:
  friend class TlsWorker;
  friend struct TlsEngineDeleter;
  explicit TlsEngine(TlsWorker* worker);
  ~TlsEngine();

  void FeedOwnHandshake(std::span<uint8_t>* in, TlsFeed* feed, TlsPlaintext* plain);
  void EndOwnHandshake(TlsFeed* feed);
  void DeclineOwnHandshake(TlsFeed* feed, TlsPlaintext* plain);
  void FailOwnHandshake(std::string error);
  bool BeginOpenSsl(std::shared_ptr<const TlsServerContext> context);
  void FeedOpenSsl(std::span<uint8_t>* in, TlsFeed* feed, TlsPlaintext* plain);
  void AfterOpenSsl();
  void EndHandshake(bool resumed);
  void CountFailedHandshake();
  void DropSessionIfUnused();

  TlsWorker* worker_;
  std::unique_ptr<TlsSession> session_;
  TlsRecordLayer records_;
};
static_assert(sizeof(TlsEngine) == 248);

}  // namespace net
