// The words in which a TLS engine (tls_engine.h) and its callers speak: states, answers, reasons
// and counts. No OpenSSL in here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/tls/tls_hello.h"

namespace net {

enum class TlsState : uint8_t {
  kHandshaking,
  kOpen,
  kPeerClosed,  // close_notify came; writing goes on
  kFailed,
};
std::string_view ToString(TlsState state);

// Who handles a connection at the moment. It goes from one to a later one, never back.
enum class TlsDriver : uint8_t {
  kOwnHandshake,  // tls_handshake.h
  kOpenSsl,       // tls_openssl.h
  kRecords,       // record/tls_record_layer.h
};
std::string_view ToString(TlsDriver driver);

// Why a connection left OpenSSL or stayed.
enum class TlsTakeOver : uint8_t {
  kPending,  // handshake not finished, or a client that waits for its tickets
  kTaken,
  kOff,  // configured
  kNotTls13,
  kNotFinished,
  kInputPending,  // OpenSSL holds bytes that it has not given out
  kKeyUpdate,     // keys moved on already
  kShutdown,
  kEarlyData,
  kUnknownSuite,
  kNoSecrets,         // not told, doubled, or of a strange size
  kSequenceMismatch,  // the two counts of sent records disagree
  kNoResources,
};
inline constexpr size_t kTlsTakeOverValues = 13;
std::string_view ToString(TlsTakeOver reason);

// What a caller of Feed() does next. There is no fourth answer, and Feed() holds itself to it in
// every build, so that a caller's loop ends whatever a peer sends.
enum class TlsNext : uint8_t {
  kInput,  // all input was taken: come again when there is more
  // Plaintext filled its buffer (OpenSSL connections): send it on, then call again with the rest of
  // the input, be it empty. Only said of a call that took input or gave plaintext.
  kAgain,
  kOver,  // nothing will come any more (kPeerClosed, kFailed); all input is taken and ignored
};

struct TlsFeed {
  size_t consumed = 0;  // of the input; below its size only with kAgain
  TlsNext next = TlsNext::kOver;
  bool handshake_done = false;  // in this call
  TlsState state = TlsState::kHandshaking;
};

// A peer that has sent so much without finishing its handshake is dropped, and a client whose hello
// does not end within so many, headers and all: hellos with post-quantum keys and a ticket that
// holds certificates are a tenth of it.
inline constexpr size_t kTlsHandshakeBytesMax = size_t{256} * 1024;
inline constexpr size_t kTlsHelloBytesMax = size_t{64} * 1024;

// Whom a client engine speaks to.
struct TlsPeer {
  std::string server_name = {};  // SNI; "" for none
  // The name that the certificate must bear; "" with verification on: any.
  std::string verify_name = {};
  // Names the node for resumption ("10.0.0.7:5222"); "" neither resumes nor stores, as health
  // checks want it.
  std::string session_key = {};
};

// Of one worker; relaxed copies are the caller's business.
struct TlsCounters {
  uint64_t handshakes_full = 0;
  uint64_t handshakes_resumed = 0;
  uint64_t handshakes_failed = 0;
  uint64_t records_failed = 0;  // after the handshake: bad_record_mac and the like, either side
  uint64_t rejected_names = 0;  // names with control characters in client certificates
  std::array<uint64_t, kTlsDeclineValues> declined{};    // own handshakes, by TlsDecline
  std::array<uint64_t, kTlsTakeOverValues> take_over{};  // by TlsTakeOver
};

}  // namespace net
