#include "lb/proxy/access_log.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <ctime>

namespace lb {
namespace {

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

  char client[net::Address::kTextMax];
  Fields fields(buffer_, format_);
  fields.Name("t", {when, length});
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
  fields.End();
}

void AccessLog::Flush(bool all) {
  if (buffer_.empty() || (!all && buffer_.size() < kFlushBytes)) return;
  size_t done = 0;
  while (done < buffer_.size()) {
    ssize_t written = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  if (done < buffer_.size()) {
    uint64_t lost = 0;
    for (size_t i = done; i < buffer_.size(); ++i) lost += buffer_[i] == '\n' ? 1U : 0U;
    dropped_.store(dropped_.load(std::memory_order_relaxed) + lost, std::memory_order_relaxed);
  }
  buffer_.clear();
}

}  // namespace lb
