#include "server/config/vm_args.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <list>
#include <set>
#include <span>

#include "net/base/address.h"
#include "net/base/text.h"
#include "server/config/vm_args_read.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

using Words = std::span<const ArgWord>;

std::optional<uint32_t> Natural(std::string_view text, uint32_t min, uint32_t max) {
  uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value < min || value > max) return std::nullopt;
  return value;
}

std::string Range(uint32_t min, uint32_t max) {
  return "write a number from " + std::to_string(min) + " to " + std::to_string(max);
}

// Erlang's {127,0,0,1} or {0,0,0,0,0,0,0,1} as an address.
std::string AddressOfTuple(std::string_view text) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return std::string(text);
  std::vector<uint32_t> parts;
  std::string_view rest = text.substr(1, text.size() - 2);
  while (true) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string_view part = rest.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    const auto value = Natural(part, 0, 0xffff);
    if (!value || parts.size() == 8) return "";
    parts.push_back(*value);
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  std::string out;
  for (uint32_t part : parts) {
    if (!out.empty()) out += parts.size() == 4 ? '.' : ':';
    char digits[8];
    const auto end = std::to_chars(digits, digits + 8, part, parts.size() == 4 ? 10 : 16);
    out.append(digits, end.ptr);
  }
  return parts.size() == 4 || parts.size() == 8 ? out : "";
}

// Flags that Erlang has and our nodes have no use for. A '+' flag may hold its value: "+sbwt none",
// "+A64".
constexpr std::array<std::string_view, 44> kUnused = {"-heart",
                                                      "-noshell",
                                                      "-noinput",
                                                      "-detached",
                                                      "-boot",
                                                      "-boot_var",
                                                      "-config",
                                                      "-mode",
                                                      "-pa",
                                                      "-pz",
                                                      "-smp",
                                                      "-connect_all",
                                                      "-epmd_module",
                                                      "-epmd",
                                                      "-eval",
                                                      "-s",
                                                      "-run",
                                                      "-init_debug",
                                                      "-remsh",
                                                      "-rsh",
                                                      "-root",
                                                      "-shutdown_time",
                                                      "-sasl",
                                                      "-mnesia",
                                                      "-ssl",
                                                      "-os_mon",
                                                      "-stdlib",
                                                      "-runtime_tools",
                                                      "-crypto",
                                                      "-public_key",
                                                      "-mongooseim",
                                                      "-ejabberd",
                                                      "-lager",
                                                      "-exometer_core",
                                                      "-start_erl",
                                                      "-sbt",
                                                      "-code_path_choice",
                                                      "-proto_dist_opt",
                                                      "-elixir",
                                                      "-erts_de_busy_limit",
                                                      "-async_dist",
                                                      "-version",
                                                      "-extra",
                                                      "-dist_listen"};
// After "+": the letters that erl -emu knows.
constexpr std::array<std::string_view, 24> kUnusedPlus = {
    "K", "A", "B", "Bc", "Bd", "Bi", "c", "d", "e", "f", "h", "i",
    "J", "L", "M", "n",  "R",  "r",  "S", "s", "t", "T", "W", "z"};

bool UnusedPlus(std::string_view flag) {
  const std::string_view rest = flag.substr(1);
  return std::any_of(kUnusedPlus.begin(), kUnusedPlus.end(),
                     [&](std::string_view known) { return rest.starts_with(known); });
}

constexpr std::array<std::string_view, 15> kUsed = {
    "-name",   "-sname",      "-setcookie",    "-kernel",           "-env",        "-args_file",
    "-hidden", "-proto_dist", "-ssl_dist_opt", "-ssl_dist_optfile", "-start_epmd", "-erl_epmd_port",
    "+P",      "+Q",          "-no_epmd"};

class Reader {
 public:
  explicit Reader(const FileReader& read) : read_(read) {}

  void File(const std::string& path, int depth, const ArgWord* from);
  VmArgsResult Finish();

 private:
  void Error(const ArgWord& at, std::string what, std::string remedy) {
    if (result_.errors.size() >= kVmArgsErrorsMax) return;
    result_.errors.push_back({.file = *at.file,
                              .line = at.line,
                              .key = at.flag ? at.text : "",
                              .what = std::move(what),
                              .remedy = std::move(remedy)});
  }
  void Flag(const ArgWord& flag, Words values, int depth);
  void Name(const ArgWord& flag, const std::string& value);
  void Cookie(const ArgWord& flag, const std::string& value);
  void Kernel(const ArgWord& flag, Words values);
  void KernelKey(const ArgWord& key, const ArgWord& value);
  void Env(const ArgWord& flag, Words values);
  void Proto(const ArgWord& flag, const std::string& value);
  void Hidden(const ArgWord& flag, Words values);
  void Count(const ArgWord& flag, Words values, std::optional<uint32_t>& into);
  // The flag's one value, or an error.
  const std::string* Only(const ArgWord& flag, Words values, std::string_view what);
  // The value where it is a number of these; else an error at the flag.
  std::optional<uint32_t> NumberOf(const ArgWord& at, const std::string& value, uint32_t min,
                                   uint32_t max);

  const FileReader& read_;
  VmArgsResult result_;
  std::list<std::string> files_;  // words point to their names
  size_t words_ = 0;
  const std::string* name_file_ = nullptr;
  int name_line_ = 0;
  std::optional<ArgWord> min_at_;
  std::optional<ArgWord> max_at_;
};

void Reader::File(const std::string& path, int depth, const ArgWord* from) {
  if (words_ > kVmArgsWordsMax) return;  // said already; nothing more is read
  files_.push_back(path);
  const std::string* name = &files_.back();
  const ArgWord top{"", name, 0, false};
  const ArgWord& at = from == nullptr ? top : *from;
  if (depth > kVmArgsDepthMax) {
    return Error(at, "-args_file in files more than " + std::to_string(kVmArgsDepthMax) + " deep",
                 "does a file name itself? take the circle out");
  }
  const auto text = read_(path);
  if (!text)
    return Error(at, "cannot read " + net::Quoted(path), "is it there, and may it be read?");
  if (text->size() > kVmArgsBytesMax) {
    return Error(
        at, net::Quoted(path) + " is larger than " + std::to_string(kVmArgsBytesMax) + " bytes",
        "is it a file of arguments?");
  }
  const std::vector<ArgWord> words = SplitArgs(*text, name);
  words_ += words.size();
  if (words_ > kVmArgsWordsMax) {
    return Error(at, "more than " + std::to_string(kVmArgsWordsMax) + " words", "remove some");
  }
  for (size_t i = 0; i < words.size();) {
    size_t end = i + 1;
    while (end < words.size() && !words[end].flag) ++end;
    if (!words[i].flag) {
      Error(words[i], net::Quoted(words[i].text) + " belongs to no flag",
            "a flag begins with - or +; a comment with #");
    } else {
      Flag(words[i], Words(words).subspan(i + 1, end - i - 1), depth);
    }
    i = end;
  }
}

const std::string* Reader::Only(const ArgWord& flag, Words values, std::string_view what) {
  if (values.size() == 1) return &values[0].text;
  Error(flag, values.empty() ? "has no value" : "has more than one value",
        "write " + flag.text + " " + std::string(what));
  return nullptr;
}

std::optional<uint32_t> Reader::NumberOf(const ArgWord& at, const std::string& value, uint32_t min,
                                         uint32_t max) {
  const auto number = Natural(value, min, max);
  if (!number) Error(at, "is " + net::Quoted(value), Range(min, max));
  return number;
}

void Reader::Flag(const ArgWord& flag, Words values, int depth) {
  const std::string& name = flag.text;
  VmArgs& args = result_.args;
  if (name == "-name" || name == "-sname") {
    if (const auto* value = Only(flag, values, "NAME@HOST")) Name(flag, *value);
  } else if (name == "-setcookie") {
    if (const auto* value = Only(flag, values, "COOKIE")) Cookie(flag, *value);
  } else if (name == "-kernel") {
    Kernel(flag, values);
  } else if (name == "-env") {
    Env(flag, values);
  } else if (name == "-args_file") {
    if (const auto* value = Only(flag, values, "FILE")) {
      const size_t slash = flag.file->rfind('/');
      const bool relative = !value->starts_with('/') && slash != std::string::npos;
      File(relative ? flag.file->substr(0, slash + 1) + *value : *value, depth + 1, &flag);
    }
  } else if (name == "-proto_dist") {
    if (const auto* value = Only(flag, values, "inet_tcp")) Proto(flag, *value);
  } else if (name == "-ssl_dist_optfile") {
    if (const auto* value = Only(flag, values, "FILE")) args.ssl_dist_optfile = *value;
  } else if (name == "-ssl_dist_opt") {
    if (values.empty() || values.size() % 2 != 0) {
      return Error(flag, "needs pairs of a key and a value",
                   "e.g. -ssl_dist_opt server_certfile /etc/ssl/node.pem");
    }
    for (size_t i = 0; i < values.size(); i += 2) {
      args.ssl_dist_opt.emplace_back(values[i].text, values[i + 1].text);
    }
  } else if (name == "-erl_epmd_port") {
    const auto* value = Only(flag, values, "PORT");
    const auto port = value ? NumberOf(flag, *value, 1, 65535) : std::nullopt;
    if (port) args.epmd_port = static_cast<uint16_t>(*port);
  } else if (name == "-start_epmd") {
    const auto* value = Only(flag, values, "true or false");
    if (value && *value != "true" && *value != "false") {
      return Error(flag, "is " + net::Quoted(*value), "write true or false");
    }
    if (value) args.start_epmd = *value == "true";
  } else if (name == "-no_epmd") {
    args.start_epmd = false;
  } else if (name == "-hidden") {
    Hidden(flag, values);
  } else if (name == "+P") {
    Count(flag, values, args.processes_max);
  } else if (name == "+Q") {
    Count(flag, values, args.ports_max);
  } else if (name == "-extra") {
    // What follows is for the program that Erlang starts, to the end of the file.
    args.unused.push_back("-extra (" + flag.At() + ")");
  } else if (std::find(kUnused.begin(), kUnused.end(), name) != kUnused.end() ||
             (name[0] == '+' && UnusedPlus(name))) {
    args.unused.push_back(name + " (" + flag.At() + ")");
  } else {
    std::vector<std::string_view> known(kUsed.begin(), kUsed.end());
    known.insert(known.end(), kUnused.begin(), kUnused.end());
    const std::string_view nearest = net::Nearest(name, known);
    Error(flag, "is no flag of Erlang's",
          nearest.empty() ? "remove it, or write it as a comment with #"
                          : "did you mean " + std::string(nearest) + "?");
  }
}

void Reader::Name(const ArgWord& flag, const std::string& value) {
  if (!result_.args.name.empty()) {
    if (result_.args.name == value && result_.args.long_names == (flag.text == "-name")) return;
    return Error(
        flag, "the node has a name already, at " + *name_file_ + ":" + std::to_string(name_line_),
        "keep one of -name and -sname");
  }
  const bool bare = value.find('@') == std::string::npos;
  if (bare ? !IsAliveName(value) : !IsNodeName(value)) {
    return Error(flag, "is " + net::Quoted(value) + ", which is no name of a node",
                 "write NAME@HOST of letters, digits, - _ and .");
  }
  result_.args.name = value;
  result_.args.long_names = flag.text == "-name";
  name_file_ = flag.file;
  name_line_ = flag.line;
}

void Reader::Cookie(const ArgWord& flag, const std::string& value) {
  VmArgs& args = result_.args;
  if (!args.cookie.empty() && args.cookie != value) {
    return Error(flag, "another cookie stands at " + args.cookie_at, "keep one of them");
  }
  if (value.empty() || value.size() > 255) {
    return Error(flag, "is empty or longer than 255 bytes", "an atom of Erlang's is not");
  }
  args.cookie = value;
  args.cookie_at = flag.At();
}

void Reader::Kernel(const ArgWord& flag, Words values) {
  if (values.empty() || values.size() % 2 != 0) {
    return Error(flag, "needs pairs of a key and a value",
                 "e.g. -kernel inet_dist_listen_min 50000 inet_dist_listen_max 50010");
  }
  for (size_t i = 0; i < values.size(); i += 2) KernelKey(values[i], values[i + 1]);
}

void Reader::KernelKey(const ArgWord& key, const ArgWord& value) {
  VmArgs& args = result_.args;
  const ArgWord at{"-kernel " + key.text, key.file, key.line, true};
  if (key.text == "inet_dist_listen_min" || key.text == "inet_dist_listen_max") {
    const auto port = NumberOf(at, value.text, 1, 65535);
    if (!port) return;
    const bool min = key.text.ends_with("min");
    (min ? args.listen_min : args.listen_max) = static_cast<uint16_t>(*port);
    (min ? min_at_ : max_at_) = at;
  } else if (key.text == "inet_dist_use_interface") {
    args.interface = AddressOfTuple(value.text);
    if (args.interface.empty() || !net::Address::FromIp(args.interface, 0)) {
      Error(at, "is " + net::Quoted(value.text) + ", which is no address",
            "write {127,0,0,1}, or {0,0,0,0,0,0,0,1} of IPv6");
    }
  } else if (key.text == "net_ticktime") {
    args.net_ticktime_s = NumberOf(at, value.text, 4, 86'400);
  } else if (key.text == "net_setuptime") {
    args.net_setuptime_s = NumberOf(at, value.text, 1, 120);
  } else {
    args.unused.push_back(at.text + " (" + at.At() + ")");
  }
}

void Reader::Env(const ArgWord& flag, Words values) {
  if (values.size() != 2) {
    return Error(flag, "needs a name and a value", "e.g. -env ERL_MAX_PORTS 350000");
  }
  const std::string& name = values[0].text;
  const ArgWord at{"-env " + name, flag.file, flag.line, true};
  if (name == "ERL_MAX_PORTS" && !NumberOf(at, values[1].text, kErlMaxPortsMin, kErlMaxPortsMax)) {
    return;
  }
  if ((name == "ERL_EPMD_PORT" || name == "ERL_DIST_PORT") &&
      !NumberOf(at, values[1].text, 1, 65535)) {
    return;
  }
  result_.args.env[name] = values[1].text;
}

void Reader::Proto(const ArgWord& flag, const std::string& value) {
  constexpr std::array<std::pair<std::string_view, ProtoDist>, 4> kProtos = {{
      {"inet_tcp", ProtoDist::kTcp},
      {"inet6_tcp", ProtoDist::kTcp6},
      {"inet_tls", ProtoDist::kTls},
      {"inet6_tls", ProtoDist::kTls6},
  }};
  for (const auto& [name, proto] : kProtos) {
    if (name != value) continue;
    result_.args.proto = proto;
    return;
  }
  Error(flag, "is " + net::Quoted(value), "write inet_tcp, inet6_tcp, inet_tls or inet6_tls");
}

void Reader::Hidden(const ArgWord& flag, Words values) {
  if (values.size() > 1 ||
      (values.size() == 1 && values[0].text != "true" && values[0].text != "false")) {
    return Error(flag, "is neither true nor false", "write -hidden true");
  }
  result_.args.hidden = values.empty() || values[0].text == "true";
}

void Reader::Count(const ArgWord& flag, Words values, std::optional<uint32_t>& into) {
  const auto* value = Only(flag, values, "NUMBER");
  if (!value || (flag.text == "+P" && *value == "legacy") || *value == "legacy") return;
  into = NumberOf(flag, *value, 1024, kErlMaxPortsMax);
}

VmArgsResult Reader::Finish() {
  VmArgs& args = result_.args;
  if (min_at_ && !max_at_) args.listen_max = args.listen_min;  // as Erlang has it
  if (max_at_ && !min_at_) {
    Error(*max_at_, "stands without inet_dist_listen_min", "write both");
  } else if (min_at_ && args.listen_min > args.listen_max) {
    Error(*min_at_,
          "is " + std::to_string(args.listen_min) + ", above inet_dist_listen_max, " +
              std::to_string(args.listen_max),
          "turn them round");
  }
  return std::move(result_);
}

}  // namespace

VmArgsResult ReadVmArgs(const std::vector<std::string>& paths, const FileReader& read) {
  Reader reader(read);
  for (const std::string& path : paths) reader.File(path, 1, nullptr);
  VmArgsResult result = reader.Finish();
  const std::string file = paths.empty() ? "vm.args" : paths[0];
  const auto lacks = [&](std::string_view what, std::string_view remedy) {
    result.errors.push_back(
        {.file = file, .what = std::string(what), .remedy = std::string(remedy)});
  };
  // Where the name or the cookie was wrong, that was said already.
  const auto said = [&](std::string_view key) {
    return std::any_of(result.errors.begin(), result.errors.end(),
                       [&](const net::ConfigError& error) { return error.key.ends_with(key); });
  };
  if (result.args.name.empty() && !said("name")) {
    lacks(kNoName,
          "add -sname mongooseim@"
          "HOST, with this machine's host name");
  }
  if (result.args.cookie.empty() && !said("setcookie")) {
    lacks(kNoCookie, "add -setcookie COOKIE, the same on all nodes");
  }
  return result;
}

std::expected<MaxPorts, net::ConfigError> MaxPortsOf(const VmArgs& args,
                                                     const char* of_environment) {
  if (of_environment != nullptr) {
    const auto value = Natural(of_environment, kErlMaxPortsMin, kErlMaxPortsMax);
    if (value) return MaxPorts{*value, "ERL_MAX_PORTS of the environment"};
    return std::unexpected(net::ConfigError{.file = "environment",
                                            .key = "ERL_MAX_PORTS",
                                            .what = "is " + net::Quoted(of_environment),
                                            .remedy = Range(kErlMaxPortsMin, kErlMaxPortsMax)});
  }
  const auto it = args.env.find("ERL_MAX_PORTS");
  if (it != args.env.end()) {
    return MaxPorts{*Natural(it->second, 0, UINT32_MAX), "-env ERL_MAX_PORTS"};
  }
  if (args.ports_max) return MaxPorts{*args.ports_max, "+Q"};
  return MaxPorts{};
}

}  // namespace server
