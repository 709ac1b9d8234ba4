#include "lb/proxy/access_log.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <ctime>

#include "net/report/line_out.h"

namespace lb {
namespace {

// local0.info (RFC 5424, 6.2.1).
constexpr std::string_view kPriority = "<134>";

void AppendNumber(std::string& out, uint64_t value) {
  char text[20];
  auto [end, error] = std::to_chars(text, text + sizeof text, value);
  out.append(text, end);
}

// Names of the configuration are words; anything else is shown as '?', so that a line stays a line.
void AppendName(std::string& out, std::string_view name) {
  for (char c : name) out += c > ' ' && c < 0x7f && c != '"' && c != '\\' ? c : '?';
}

class Fields {
 public:
  Fields(std::string& out, AccessLogFormat format)
      : out_(out), json_(format == AccessLogFormat::kJson) {
    if (json_) out_ += '{';
  }
  void Name(std::string_view key, std::string_view value) {
    Key(key);
    if (json_) out_ += '"';
    if (value.empty() && !json_) out_ += '-';
    AppendName(out_, value);
    if (json_) out_ += '"';
  }
  void Number(std::string_view key, uint64_t value) {
    Key(key);
    AppendNumber(out_, value);
  }
  void End() { out_.append(json_ ? "}\n" : "\n"); }

 private:
  void Key(std::string_view key) {
    if (!first_) out_ += json_ ? ',' : ' ';
    first_ = false;
    if (json_) out_ += '"';
    out_.append(key);
    out_.append(json_ ? "\":" : "=");
  }

  std::string& out_;
  const bool json_;
  bool first_ = true;
};

}  // namespace

void AccessLog::Write(const AccessLogEntry& entry) {
  if (entry.probe && !options_.silent) return;
  const uint64_t second = entry.ended_ms / 1000;
  if (second != second_) {
    second_ = second;
    std::time_t time = static_cast<std::time_t>(second);
    std::tm tm{};
    gmtime_r(&time, &tm);
    std::strftime(second_text_, sizeof second_text_, "%Y-%m-%dT%H:%M:%S.", &tm);
  }
  char when[32];
  const uint64_t ms = entry.ended_ms % 1000;
  size_t length = std::char_traits<char>::length(second_text_);
  std::char_traits<char>::copy(when, second_text_, length);
  when[length++] = static_cast<char>('0' + ms / 100);
  when[length++] = static_cast<char>('0' + ms / 10 % 10);
  when[length++] = static_cast<char>('0' + ms % 10);
  when[length++] = 'Z';
  switch (options_.sink) {
    case AccessLogSink::kStream:
      WriteFields(entry, {when, length});
      return;
    case AccessLogSink::kSyslogLocal:
      buffer_ += kPriority;
      buffer_ += "mongooselb[";
      AppendNumber(buffer_, static_cast<uint64_t>(getpid()));
      buffer_ += "]: ";
      WriteFields(entry, {when, length});
      break;
    case AccessLogSink::kSyslogNetwork:
      buffer_ += kPriority;
      buffer_ += "1 ";
      buffer_.append(when, length);
      buffer_ += " - mongooselb ";
      AppendNumber(buffer_, static_cast<uint64_t>(getpid()));
      buffer_ += " access - ";
      WriteFields(entry, {when, length});
      break;
    case AccessLogSink::kJournal:
      WriteJournal(entry, {when, length});
      break;
  }
  ends_.push_back(buffer_.size());
}

void AccessLog::WriteFields(const AccessLogEntry& entry, std::string_view when) {
  char client[net::Address::kTextMax];
  Fields fields(buffer_, options_.format);
  fields.Name("t", when);
  fields.Name("listener", entry.listener);
  fields.Name("pool", entry.pool);
  fields.Name("node", entry.node);
  fields.Name("client", entry.client.Format(client));
  fields.Number("queue_ms", entry.queue_ms);
  fields.Number("connect_ms", entry.connect_ms);
  fields.Number("duration_ms", entry.duration_ms);
  fields.Number("bytes_in", entry.bytes_in);
  fields.Number("bytes_out", entry.bytes_out);
  fields.Number("retries", entry.retries);
  fields.Name("end", entry.end);
  fields.Name("error", entry.error);
  fields.Name("tls", entry.tls);
  fields.Name("sni", entry.sni);
  fields.Name("id", entry.id);
  fields.End();
}

// The journal's own protocol: FIELD=value lines. Values hold no newline, see AppendName.
void AccessLog::WriteJournal(const AccessLogEntry& entry, std::string_view when) {
  auto name = [this](std::string_view key, std::string_view value) {
    buffer_.append(key) += '=';
    AppendName(buffer_, value);
    buffer_ += '\n';
  };
  auto number = [this](std::string_view key, uint64_t value) {
    buffer_.append(key) += '=';
    AppendNumber(buffer_, value);
    buffer_ += '\n';
  };
  char client[net::Address::kTextMax];
  buffer_ += "PRIORITY=6\nSYSLOG_IDENTIFIER=mongooselb\nMESSAGE=";
  WriteFields(entry, when);  // with its newline
  name("MONGOOSELB_LISTENER", entry.listener);
  name("MONGOOSELB_POOL", entry.pool);
  name("MONGOOSELB_NODE", entry.node);
  name("MONGOOSELB_CLIENT", entry.client.Format(client));
  number("MONGOOSELB_QUEUE_MS", entry.queue_ms);
  number("MONGOOSELB_CONNECT_MS", entry.connect_ms);
  number("MONGOOSELB_DURATION_MS", entry.duration_ms);
  number("MONGOOSELB_BYTES_IN", entry.bytes_in);
  number("MONGOOSELB_BYTES_OUT", entry.bytes_out);
  number("MONGOOSELB_RETRIES", entry.retries);
  name("MONGOOSELB_END", entry.end);
  name("MONGOOSELB_ERROR", entry.error);
  name("MONGOOSELB_TLS", entry.tls);
  name("MONGOOSELB_SNI", entry.sni);
  name("MONGOOSELB_ID", entry.id);
}

void AccessLog::Flush(bool all) {
  if (buffer_.empty() || (!all && buffer_.size() < kFlushBytes)) return;
  if (options_.sink == AccessLogSink::kStream) {
    FlushStream();
  } else {
    FlushDatagrams();
  }
  buffer_.clear();
  ends_.clear();
}

void AccessLog::FlushStream() {
  const size_t done = net::WriteNow(fd_, buffer_);
  if (done == buffer_.size()) return;
  uint64_t lost = 0;
  for (size_t i = done; i < buffer_.size(); ++i) lost += buffer_[i] == '\n' ? 1U : 0U;
  CountDropped(lost);
}

void AccessLog::FlushDatagrams() {
  size_t begin = 0;
  for (const size_t end : ends_) {
    size_t size = end - begin;
    // Syslog's lines end with their datagram.
    if (options_.sink != AccessLogSink::kJournal) --size;
    ssize_t sent = 0;
    do {
      sent = sendto(fd_, buffer_.data() + begin, size, MSG_NOSIGNAL | MSG_DONTWAIT,
                    options_.address.get(), options_.address.size());
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) CountDropped(1);
    begin = end;
  }
}

}  // namespace lb
