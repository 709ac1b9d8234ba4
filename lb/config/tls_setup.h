// Makes TLS contexts of the configuration: reads certificates, keys, authorities and staples, and
// says what is wrong with them. Start-up, reload and `check`; any one thread.
#pragma once

#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lb/config/config.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_tickets.h"

namespace lb {

// The ticket keys of the process, by file; "" has those that live with the process. Kept over
// reloads, so that clients resume after one.
class TicketKeys {
 public:
  // The file's keys, as they are now. A file that is missing is made, with random keys.
  std::expected<std::shared_ptr<net::TlsTicketKeys>, net::ConfigError> Get(
      const ListenerConfig& listener);
  // Once a minute or so: takes over what other balancers wrote, and rotates what is older than its
  // time: the process's own keys, and a file's, whose change all that share it take over.
  void Maintain(const std::vector<ListenerConfig>& listeners, net::Time now);

 private:
  struct Entry {
    std::shared_ptr<net::TlsTicketKeys> keys;
    int64_t changed = 0;  // the file's, seconds since 1970
    net::Time rotated{};  // without a file
  };
  std::map<std::string, Entry> entries_;
};

std::expected<std::shared_ptr<const net::TlsServerContext>, std::vector<net::ConfigError>>
MakeServerContext(const ListenerConfig& listener, std::shared_ptr<net::TlsTicketKeys> tickets);

// Of a pool with tls.
std::expected<std::shared_ptr<const net::TlsClientContext>, std::vector<net::ConfigError>>
MakeClientContext(const PoolConfig& pool);

// All that can be wrong with the files of a configuration, for `check`. Writes nothing.
std::vector<net::ConfigError> CheckTlsFiles(const Config& config);

}  // namespace lb
