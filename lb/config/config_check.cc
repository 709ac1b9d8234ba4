// Reads one [[pool.NAME.check]], and the password file that it names.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "lb/config/config_pool.h"
#include "lb/config/config_read.h"

namespace lb {
namespace {

using net::TomlSection;

constexpr size_t kPasswordMax = 1024;
constexpr size_t kBodyMax = 64 * 1024;

constexpr std::array kHttpKeys = {"method",      "path",        "host",          "headers",
                                  "body",        "user",        "password_file", "expect_status",
                                  "expect_json", "expect_value"};
constexpr std::array kXmppKeys = {"to", "namespace"};
// The check writes these itself.
constexpr std::array kOwnHeaders = {"content-length", "transfer-encoding", "connection", "host",
                                    "authorization"};

bool SameIgnoringCase(std::string_view a, std::string_view lower) {
  return std::ranges::equal(a, lower, {}, [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
}

// "Name: value"
void ReadHeaders(const TomlSection& section, CheckConfig& out) {
  std::vector<std::string> headers = section.Strings("headers", kCheckHeadersMax);
  for (const std::string& text : headers) {
    size_t colon = text.find(':');
    std::string_view name = std::string_view(text).substr(0, colon);
    size_t start = colon == std::string::npos ? colon : text.find_first_not_of(" \t", colon + 1);
    std::string value = start == std::string::npos ? "" : text.substr(start);
    if (colon == std::string::npos || !net::IsHttpHeader(name, value)) {
      section.Error("headers", "holds " + net::Quoted(text) + ", which is not an HTTP header",
                    "write \"Name: value\"");
    } else if (std::ranges::any_of(kOwnHeaders,
                                   [&](const char* own) { return SameIgnoringCase(name, own); })) {
      section.Error("headers", "holds " + net::Quoted(name) + ", which the check writes by itself",
                    "remove it; for Host and Authorization there are host, user and password_file");
    } else {
      out.headers.push_back({std::string(name), std::move(value)});
    }
  }
}

std::string FailedToRead() { return "cannot be read: " + std::string(std::strerror(errno)); }

// The file's first line. A secret that others can read is none.
void ReadPassword(const TomlSection& section, const std::string& path, Credentials& out) {
  auto close = [](std::FILE* file) { std::fclose(file); };
  std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "re"), close);
  struct stat info{};
  if (!file || fstat(fileno(file.get()), &info) != 0) {
    section.Error("password_file", net::Quoted(path) + " " + FailedToRead(),
                  "check the path and its permissions");
    return;
  }
  if (!S_ISREG(info.st_mode)) {
    section.Error("password_file", net::Quoted(path) + " is not a file", "");
    return;
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    std::array<char, 16> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", info.st_mode & 07777U);
    section.Error("password_file",
                  net::Quoted(path) + " has the mode " + mode.data() +
                      ", so that others than its owner may read or write it",
                  "chmod 0600 " + path);
    return;
  }
  std::array<char, kPasswordMax + 2> text{};
  size_t size = std::fread(text.data(), 1, text.size(), file.get());
  std::string_view password(text.data(), size);
  if (password.ends_with('\n')) password.remove_suffix(1);
  if (password.ends_with('\r')) password.remove_suffix(1);
  bool plain = std::ranges::none_of(
      password, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (password.empty() || password.size() > kPasswordMax || !plain) {
    section.Error("password_file", net::Quoted(path) + " does not hold one line with a password",
                  "write the password alone, up to " + std::to_string(kPasswordMax) + " bytes");
    return;
  }
  out.password = password;
}

void ReadHttp(const TomlSection& section, CheckConfig& out) {
  out.method = section.String("method", out.method);
  if (!net::IsHttpToken(out.method)) {
    section.Error("method", "is " + net::Quoted(out.method) + ", which is not an HTTP method",
                  "use GET, HEAD or POST");
  }
  out.path = section.String("path", out.path);
  JudgePath(section, "path", out.path);
  out.host = section.String("host");
  if (!net::IsHttpHeader("Host", out.host) || out.host.find_first_of(" /") != std::string::npos) {
    section.Error("host", "is " + net::Quoted(out.host) + ", which is not a host",
                  "write it as in \"xmpp.example.org\" or \"xmpp.example.org:5280\"");
  }
  ReadHeaders(section, out);
  out.body = section.String("body");
  if (out.body.size() > kBodyMax) {
    section.Error("body",
                  "is " + std::to_string(out.body.size()) +
                      " bytes, which is above the largest allowed, " + std::to_string(kBodyMax),
                  "shorten it");
  }
  Credentials credentials = ReadCredentials(section);
  out.user = std::move(credentials.user);
  out.password = std::move(credentials.password);
  out.expect_status = static_cast<int>(section.Int("expect_status", 200, {.min = 200, .max = 599}));
  out.expect_json = section.String("expect_json");
  out.expect_value = section.String("expect_value");
  if (out.expect_json.empty() == section.Has("expect_value")) {
    section.Error(out.expect_json.empty() ? "expect_value" : "expect_json",
                  "stands alone, but expect_json and expect_value belong together",
                  "name the path of a value in the answer, and the value");
  }
}

void ReadXmpp(const TomlSection& section, CheckConfig& out) {
  out.to = section.RequiredString("to");
  if (!out.to.empty() && !net::IsHostName(out.to) && !net::Address::FromIp(out.to, 0)) {
    section.Error("to", "is " + net::Quoted(out.to) + ", which is not a domain",
                  "write the XMPP domain that the node serves");
  }
  section.Enum<int>("namespace", 0, {{"jabber:client", 0}, {"jabber:server", 1}});
  out.xmlns = section.String("namespace", out.xmlns);
}

template <typename Keys>
void RefuseKeys(const TomlSection& section, const Keys& keys, std::string_view type) {
  for (const char* key : keys) {
    if (!section.Has(key)) continue;
    section.Error(key, "belongs to checks of type \"" + std::string(type) + "\"",
                  "remove it, or set type = \"" + std::string(type) + "\"");
  }
}

}  // namespace

Credentials ReadCredentials(const TomlSection& section) {
  Credentials out;
  out.user = section.String("user");
  std::string file = section.String("password_file");
  if (out.user.find(':') != std::string::npos) {
    section.Error("user", "holds a colon, which Basic authentication cannot carry", "");
  }
  if (!out.user.empty() && file.empty()) {
    section.Error("user", "has no password", "add password_file = \"/path\"");
  } else if (out.user.empty() && !file.empty()) {
    section.Error("password_file", "has no user", "add user = \"...\"");
  } else if (!file.empty()) {
    ReadPassword(section, file, out);
  }
  return out;
}

void JudgePath(const TomlSection& section, std::string_view key, std::string_view path) {
  bool plain = path.starts_with('/') && std::ranges::none_of(path, [](char c) {
                 return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '#';
               });
  if (plain) return;
  section.Error(key, "is " + net::Quoted(path) + ", which is not an HTTP path",
                "begin it with \"/\" and escape blanks as %20");
}

CheckConfig ReadCheck(const TomlSection& section, const std::string& file, SendProxy pool_sends,
                      NodeTls pool_speaks) {
  using std::chrono::milliseconds;
  CheckConfig out;
  out.origin = OriginOf(section, "", file);
  std::string type = section.RequiredString("type");
  if (!type.empty()) {
    out.type = section.Enum<net::CheckType>("type", out.type,
                                            {{"tcp", net::CheckType::kTcp},
                                             {"http", net::CheckType::kHttp},
                                             {"xmpp", net::CheckType::kXmpp}});
  }
  bool typed = type == net::CheckTypeName(out.type);
  out.interval = section.Time("interval", out.interval, milliseconds(100), kDay);
  out.fast_interval = section.Time("fast_interval", std::min(out.fast_interval, out.interval),
                                   milliseconds(100), kDay);
  if (out.fast_interval > out.interval) {
    section.Error("fast_interval", "is above interval", "set it to at most interval");
  }
  out.timeout = section.Time("timeout", out.timeout, milliseconds(10), std::chrono::minutes(10));
  out.rise = Natural(section, "rise", out.rise, 1, 1'000);
  out.fall = Natural(section, "fall", out.fall, 1, 1'000);
  out.jitter = section.Float("jitter", out.jitter, 0, 0.5);
  out.port = static_cast<uint16_t>(Natural(section, "port", 0, 0, 65'535));
  const bool wanted = section.Bool("send_proxy", pool_sends != SendProxy::kOff && out.port == 0);
  if (wanted) out.send_proxy = pool_sends;
  if (wanted && pool_sends == SendProxy::kOff) {
    section.Error("send_proxy", "is true, but the pool's send_proxy is off",
                  "set send_proxy = \"v1\" or \"v2\" in the pool; checks send the same version");
  }
  out.tls = section.Bool("tls", pool_speaks != NodeTls::kOff && out.port == 0);
  if (out.tls && pool_speaks == NodeTls::kOff) {
    section.Error(
        "tls", "is true, but the pool's tls is off",
        "set tls = \"tls\" or \"starttls\" in the pool; checks speak as its connections do");
    out.tls = false;
  }
  out.start = section.Enum<CheckStart>(
      "start", out.start,
      {{"checking", CheckStart::kChecking}, {"up", CheckStart::kUp}, {"down", CheckStart::kDown}});
  if (!typed) {  // one mistake, told above; the other keys are neither right nor wrong
    for (const char* key : kHttpKeys) section.Has(key);
    for (const char* key : kXmppKeys) section.Has(key);
    return out;
  }
  if (out.type == net::CheckType::kHttp) {
    ReadHttp(section, out);
  } else {
    RefuseKeys(section, kHttpKeys, "http");
  }
  if (out.type == net::CheckType::kXmpp) {
    ReadXmpp(section, out);
  } else {
    RefuseKeys(section, kXmppKeys, "xmpp");
  }
  return out;
}

}  // namespace lb
