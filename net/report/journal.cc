#include "net/report/journal.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <variant>

#include "net/base/text.h"
#include "net/report/log_line.h"

namespace net {
namespace {

std::string Upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// What is printable holds no newline, which would begin another field.
void AppendPlainValue(std::string& out, const LogValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value.variant())) {
    out += Printable(*text);
  } else {
    AppendLogValue(out, value, LogFormat::kText);
  }
}

}  // namespace

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

std::string Journal::Open(std::string_view program, const std::string& path) {
  if (path.size() >= sizeof address_.sun_path) return path + " is too long for a socket's name";
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return std::string("no socket for the journal: ") + std::strerror(errno);
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  address_ = {};
  address_.sun_family = AF_UNIX;
  path.copy(address_.sun_path, path.size());
  program_ = program;
  prefix_ = Upper(program) + "_";
  return "";
}

bool Journal::Write(LogLevel level, std::string_view component, std::string_view line,
                    std::span<const LogField> fields) const {
  std::string entry = "PRIORITY=";
  entry += SyslogPrefix(level)[1];
  entry += "\nSYSLOG_IDENTIFIER=" + program_ + "\n" + prefix_ + "COMPONENT=";
  entry.append(component) += "\nMESSAGE=";
  entry.append(line) += '\n';
  for (const LogField& field : fields) {
    entry += prefix_ + Upper(field.key) + '=';
    AppendPlainValue(entry, field.value);
    entry += '\n';
  }
  ssize_t sent = 0;
  do {
    sent = sendto(fd_, entry.data(), entry.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

}  // namespace net
