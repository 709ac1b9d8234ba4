// Keys that encrypt session tickets (RFC 5077, RFC 8446 section 4.6.1), shared by all workers, and
// through a file by all balancers, so that a client resumes wherever it lands.
//
// There are always three. The middle one, "current", encrypts; all three decrypt. A rotation drops
// the oldest and appends a new one, so a balancer that has not rotated yet already knows the key
// that the others encrypt with next, and tickets live for two rotations. With the default ticket
// lifetime of 2 hours rotate every 2 hours or less often than that; rotating more often only costs
// resumptions.
//
// The file is HAProxy's `tls-ticket-keys` format: base64, one key of 80 bytes a line, the last
// three lines count. It must have mode 0600.
//
// Thread-safe. Rotation and reload replace the whole set at once.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <string>

#include "net/tls/context/tls_error.h"

namespace net {

struct TlsTicketKey {
  std::array<uint8_t, 16> name;
  std::array<uint8_t, 32> hmac;  // HMAC-SHA-256
  std::array<uint8_t, 32> aes;   // AES-256-CBC
};
static_assert(sizeof(TlsTicketKey) == 80);

// What seals the tickets of our own handshakes (tls_ticket_sealer.h), derived from a ticket key.
struct TlsTicketSeal {
  std::array<uint8_t, 16> name;
  std::array<uint8_t, 32> key;  // AES-256-GCM
};

struct TlsTicketKeySet {
  static constexpr size_t kCurrent = 1;

  explicit TlsTicketKeySet(const std::array<TlsTicketKey, 3>& keys);
  ~TlsTicketKeySet();  // wiped
  TlsTicketKeySet(const TlsTicketKeySet&) = delete;
  TlsTicketKeySet& operator=(const TlsTicketKeySet&) = delete;

  std::array<TlsTicketKey, 3> keys;  // oldest, current, next
  std::array<TlsTicketSeal, 3> seals;
};

class TlsTicketKeys {
 public:
  static std::shared_ptr<TlsTicketKeys> Random();
  static std::expected<std::shared_ptr<TlsTicketKeys>, TlsConfigError> FromFile(
      const std::string& path);

  // The set to use for one handshake.
  std::shared_ptr<const TlsTicketKeySet> set() const;

  // Drops the oldest key and appends a random one; the former next key encrypts from now on.
  void Rotate();
  // Takes the file's keys; keeps the old ones on error.
  std::expected<void, TlsConfigError> Reload(const std::string& path);
  // Writes the set beside `path` with mode 0600 and renames it there, so that readers see the old
  // or the new file.
  std::expected<void, TlsConfigError> Save(const std::string& path) const;

 private:
  mutable std::mutex mutex_;  // held to copy or replace a pointer; once a handshake
  std::shared_ptr<const TlsTicketKeySet> set_;
};

}  // namespace net
