#include "lb/config/log_setup.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lb {

std::expected<net::UniqueFd, net::ConfigError> OpenAccessLog(const LogConfig& log) {
  auto failed = [&log](const char* remedy) {
    return std::unexpected(
        log.access_origin.Error("cannot be opened: " + std::string(std::strerror(errno)), remedy));
  };
  switch (log.access) {
    case AccessLogTarget::kOff:
      return net::UniqueFd();
    case AccessLogTarget::kStderr:
      return net::UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    case AccessLogTarget::kSyslog:
    case AccessLogTarget::kJournal: {
      net::UniqueFd fd(socket(log.access_daemon.ToSocketName().family(),
                              SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!fd) return failed("set \"off\", or the path of a file");
      return fd;
    }
    case AccessLogTarget::kFile:
      break;
  }
  net::UniqueFd fd(open(log.access_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!fd) {
    return failed(
        "make its folder writable for the user that the balancer runs as, or set "
        "\"off\"");
  }
  return fd;
}

AccessLog::Options AccessLogOptionsOf(const LogConfig& log) {
  AccessLog::Options options{.format = log.access_format == net::LogFormat::kJson
                                           ? AccessLogFormat::kJson
                                           : AccessLogFormat::kText,
                             .silent = log.access_silent};
  if (log.access == AccessLogTarget::kJournal) {
    options.sink = AccessLogSink::kJournal;
    options.address = log.access_daemon.ToSocketName();
  } else if (log.access == AccessLogTarget::kSyslog) {
    const bool local = log.access_daemon.kind == net::Endpoint::Kind::kUnix;
    options.sink = local ? AccessLogSink::kSyslogLocal : AccessLogSink::kSyslogNetwork;
    options.address = log.access_daemon.ToSocketName();
  }
  return options;
}

}  // namespace lb
