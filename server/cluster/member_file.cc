#include "server/cluster/member_file.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

#include "net/base/hash.h"
#include "net/base/text.h"
#include "server/cluster/limits.h"

namespace server {
namespace {

constexpr std::string_view kRemedy =
    "restore it from a copy, or remove it: the node then stands alone and can be joined again";

template <typename T>
bool Number(std::string_view text, T* value, int base = 10) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, *value, base);
  return error == std::errc() && at == end && !text.empty();
}

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string_view TakeWord(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

bool ReadMember(std::string_view rest, MemberView& view) {
  MemberEntry entry;
  entry.name = TakeWord(rest);
  const std::string_view state = TakeWord(rest);
  if (!IsNodeName(entry.name) || !Number(rest, &entry.epoch)) return false;
  if (state != "joined" && state != "removed") return false;
  entry.state = state == "joined" ? MemberState::kJoined : MemberState::kRemoved;
  return view.entries().size() < kEntriesReadMax && view.AddEntry(std::move(entry));
}

bool ReadLine(std::string_view line, MemberFile& file) {
  const std::string_view key = TakeWord(line);
  if (key == "node") {
    file.node = line;
    return IsNodeName(line);
  }
  if (key == "incarnation") return Number(line, &file.incarnation);
  if (key == "shared") {
    file.shared = line == "1";
    return line == "0" || line == "1";
  }
  if (key == "lineage") {
    uint64_t identity = 0;
    if (!Number(line, &identity, 16)) return false;
    file.view.AddLineage(identity);
    return true;
  }
  return key == "member" && ReadMember(line, file.view);
}

}  // namespace

std::string MemberFileText(const MemberFile& file) {
  std::string out = "mongooseim-cluster 1\n";
  out += "node " + file.node + "\nincarnation " + std::to_string(file.incarnation);
  out += file.shared ? "\nshared 1\n" : "\nshared 0\n";
  for (uint64_t identity : file.view.lineage()) out += "lineage " + Hex(identity) + "\n";
  for (const MemberEntry& entry : file.view.entries()) {
    out += "member " + entry.name + " " + std::string(ToString(entry.state)) + " " +
           std::to_string(entry.epoch) + "\n";
  }
  return out + "end " + Hex(net::StableHash(out)) + "\n";
}

std::expected<MemberFile, std::string> ParseMemberFile(std::string_view text,
                                                       std::string_view name) {
  const auto refuse = [&](size_t line, std::string_view what) {
    return std::unexpected(std::string(name) + ":" + std::to_string(line) + ": " +
                           std::string(what) + "; " + std::string(kRemedy));
  };
  MemberFile file;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    ++number;
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return refuse(number, "the last line is cut");
    std::string_view line = text.substr(at, end - at);
    if (number == 1) {
      if (line != "mongooseim-cluster 1") {
        return refuse(number, "is " + net::Quoted(line) + ", not 'mongooseim-cluster 1'");
      }
    } else if (line.starts_with("end ")) {
      uint64_t sum = 0;
      if (!Number(line.substr(4), &sum, 16) || sum != net::StableHash(text.substr(0, at))) {
        return refuse(number, "the checksum does not fit");
      }
      if (end + 1 != text.size()) return refuse(number + 1, "stands behind the end");
      if (!file.view.Joined(file.node) || file.view.lineage().empty()) {
        return refuse(number, "the node is not among its own members");
      }
      return file;
    } else if (!ReadLine(line, file)) {
      return refuse(number, "cannot be read: " + net::Quoted(line));
    }
    at = end + 1;
  }
  return refuse(number + 1, "the end is missing");
}

}  // namespace server
