// What a Pair keeps when TLS is spoken on one of its sides, or when the words before TLS are ours
// to read: it stands in a slab of the worker, found by Pair::extra_.
//
// At rest it is sizeof(Tls) bytes, with a net::TlsEngine for each side that speaks TLS. All else is
// there while bytes are under way (Fed, output buffers) or before the node is reached (TlsOpening).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lb/proxy/runtime.h"
#include "net/base/slab.h"
#include "net/tls/client_hello.h"
#include "net/tls/tls_engine.h"
#include "net/xmpp/starttls.h"

namespace lb {

// Plaintext that a side's engine gave out, until it has been sent on. The buffer that it was
// decrypted in stays at the chain's head as long.
struct Fed {
  net::TlsPlaintext plain;
  size_t span = 0;    // the first that is not sent whole
  size_t offset = 0;  // into it
  size_t left = 0;    // bytes in all
};

// Of the time until the node is reached.
struct TlsOpening {
  std::unique_ptr<net::StartTlsServer> starttls_server;
  std::shared_ptr<const net::StartTlsServerOptions> starttls_options;
  std::unique_ptr<net::StartTlsClient> starttls_client;
  std::unique_ptr<net::ClientHelloParser> hello;
  std::vector<uint8_t> early;            // its hello, until there is an engine to read it
  std::unique_ptr<net::TlsFacts> facts;  // of the client's handshake
  std::string domain;                    // of its stream, which TLS does not vouch for
  bool agreed = false;                   // <proceed/> is on its way to the client
  bool greeted = false;                  // our PROXY header went to the node
  // Of a handshake that waits for the client's next word: since when, in the worker's time (0: it
  // does not), and whom it counts for.
  uint32_t silent_since_ms = 0;
  uint64_t half_open_source = 0;
};

struct Tls {
  // Bytes on their way to a side: a sealed buffer of the worker's pool, or words before TLS.
  struct Out {
    uint8_t* data = nullptr;
    uint16_t size = 0;
    uint16_t sent = 0;
    bool large = false;
  };

  net::TlsEnginePtr engine[2];  // by side; null: in the clear
  Out out[2];                   // by side
  std::unique_ptr<TlsOpening> opening;
  uint32_t fed[2] = {net::kNoIndex, net::kNoIndex};  // by the direction that it comes from
  uint32_t prelude = net::kNoIndex;                  // a PROXY header on its way to the node
  bool more[2] = {false, false};                     // the engine holds plaintext beside its input
  bool slot = false;                                 // counted among the listener's handshakes
  bool due = false;                                  // in line for handshake work
  bool waiting = false;                              // in line for a place among the handshakes
  bool failed = false;                               // the last alert is on its way
  bool goodbye[2] = {false, false};                  // by side: close_notify is queued or out
  bool closed[2] = {false, false};                   // by side: its close_notify has come
  bool large[2] = {false, false};                    // by direction: receives into large buffers
  uint8_t run[2] = {0, 0};  // receives in a row that speak for the other size
};

}  // namespace lb
