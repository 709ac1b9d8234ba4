// The access log: one line for each connection that ended. Lines are put together in a buffer of
// the worker and written at the end of a turn of its loop, many at once.
//
// Text: `t=2026-01-31T12:00:00.123Z listener=c2s pool=xmpp node=n1 client=192.0.2.1:43210 ...`;
// JSON: the same fields, one object a line. Names come from the configuration and are escaped there
// where the format needs it; of what peers say there are addresses and the name asked for (SNI),
// in which whatever does not print is shown as '?'.
//
// Instead of a file the lines may go to syslog (one datagram each: in the short form that the local
// /dev/log reads, as RFC 5424 to a network address) or to systemd's journal, with its fields.
//
// One per worker and thread; the descriptor is shared and opened for appending, so whole lines stay
// whole. What a full pipe, disk or log daemon does not take is dropped and counted: a log never
// stops the relay.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"

namespace lb {

struct AccessLogEntry {
  uint64_t ended_ms = 0;  // wall clock, since 1970
  std::string_view listener;
  std::string_view pool;
  std::string_view node;  // "" when none was found
  net::Address client;
  uint64_t queue_ms = 0;
  uint64_t connect_ms = 0;
  uint64_t duration_ms = 0;
  uint64_t bytes_in = 0;   // from the client
  uint64_t bytes_out = 0;  // to the client
  uint32_t retries = 0;
  std::string_view end;    // EndReasonName
  std::string_view error;  // "ECONNRESET"; "" where no system call failed
  std::string_view tls;    // the client's version, "TLSv1.3"; "" where it does not end here
  std::string_view sni;    // the name that it asked for
  std::string_view id;     // as the PROXY header has it (unique_id)
  bool probe = false;      // the client said nothing, and left by itself
};

enum class AccessLogFormat : uint8_t { kText, kJson };

// Where lines go, and in which envelope.
enum class AccessLogSink : uint8_t { kStream, kSyslogLocal, kSyslogNetwork, kJournal };

class AccessLog {
 public:
  struct Options {
    AccessLogFormat format = AccessLogFormat::kText;
    AccessLogSink sink = AccessLogSink::kStream;
    net::SocketName address;  // of a daemon; asked anew with each line, so it may be restarted
    bool silent = true;       // also of probes
  };

  // `fd` stays the caller's: a file, or an unconnected datagram socket.
  AccessLog(int fd, Options options) : fd_(fd), options_(std::move(options)) {}
  AccessLog(int fd, AccessLogFormat format) : AccessLog(fd, Options{.format = format}) {}

  void Write(const AccessLogEntry& entry);
  // Writes out when much is waiting (`all`: in any case).
  void Flush(bool all);
  bool waiting() const { return !buffer_.empty(); }
  void Reopen(int fd) {
    Flush(true);
    fd_ = fd;
  }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kFlushBytes = 16'384;

  void WriteFields(const AccessLogEntry& entry, std::string_view when);
  void WriteJournal(const AccessLogEntry& entry, std::string_view when);
  void FlushStream();
  void FlushDatagrams();
  void CountDropped(uint64_t lines) {
    dropped_.store(dropped_.load(std::memory_order_relaxed) + lines, std::memory_order_relaxed);
  }

  int fd_;
  const Options options_;
  std::string buffer_;
  std::vector<size_t> ends_;  // of the datagrams in buffer_
  std::atomic<uint64_t> dropped_{0};
  // The date and time of the last line, whose text is used again within the same second.
  uint64_t second_ = 0;
  char second_text_[24] = "";
};

}  // namespace lb
