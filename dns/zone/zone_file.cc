#include "dns/zone/zone_file.h"

#include <arpa/inet.h>
#include <strings.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "dns/zone/zone_text.h"

namespace dns {

void ZoneFileReport::Mistake(std::string text) {
  if (mistakes.size() < kZoneReportsMax) {
    mistakes.push_back(std::move(text));
  } else {
    ++more_mistakes;
  }
}

void ZoneFileReport::Warning(std::string text) {
  if (warnings.size() < kZoneReportsMax) {
    warnings.push_back(std::move(text));
  } else {
    ++more_warnings;
  }
}

std::optional<uint32_t> ReadTtl(std::string_view text) {
  uint64_t sum = 0;
  uint64_t number = 0;
  bool digits = false;
  bool units = false;
  for (char c : text) {
    if (c >= '0' && c <= '9') {
      number = number * 10 + static_cast<uint64_t>(c - '0');
      digits = true;
      if (number > INT32_MAX) return std::nullopt;
      continue;
    }
    uint64_t unit = 0;
    switch (c | 0x20) {
      case 's':
        unit = 1;
        break;
      case 'm':
        unit = 60;
        break;
      case 'h':
        unit = 3600;
        break;
      case 'd':
        unit = 86'400;
        break;
      case 'w':
        unit = 604'800;
        break;
      default:
        return std::nullopt;
    }
    if (!digits) return std::nullopt;
    sum += number * unit;
    number = 0;
    digits = false;
    units = true;
    if (sum > INT32_MAX) return std::nullopt;
  }
  if (!digits && !units) return std::nullopt;
  sum += number;
  return sum <= INT32_MAX ? std::optional(static_cast<uint32_t>(sum)) : std::nullopt;
}

namespace {

bool Same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// One record or directive, over as many lines as its parentheses hold.
struct Entry {
  int line = 0;                          // the first
  bool after_blank = false;              // its owner is that of the entry before
  std::vector<std::string_view> tokens;  // quoted ones with their quotes
};

// Takes a text apart into entries.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // False at the end. `mistake`: why the entry cannot be used; the lexer stands behind its line.
  bool Next(Entry& entry, std::string& mistake);

 private:
  bool AtEnd() const { return at_ >= text_.size(); }
  void SkipLine();
  // The token at `at_`; "" as first when it is a quote without an end.
  std::string_view Token();
  std::string_view Quoted();

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

void Lexer::SkipLine() {
  while (!AtEnd() && text_[at_] != '\n') ++at_;
}

std::string_view Lexer::Quoted() {
  size_t begin = at_++;
  while (!AtEnd() && text_[at_] != '"') {
    if (text_[at_] == '\n') return {};
    at_ += text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n' ? 2u : 1u;
  }
  if (AtEnd()) return {};
  ++at_;
  return text_.substr(begin, at_ - begin);
}

std::string_view Lexer::Token() {
  constexpr auto kEnds = [] {
    std::array<bool, 256> ends{};
    for (char c : std::string_view(" \t\r\n;()\"")) ends[static_cast<uint8_t>(c)] = true;
    return ends;
  }();
  size_t begin = at_;
  while (!AtEnd() && !kEnds[static_cast<uint8_t>(text_[at_])]) {
    at_ += text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n' ? 2u : 1u;
  }
  at_ = std::min(at_, text_.size());
  return text_.substr(begin, at_ - begin);
}

bool Lexer::Next(Entry& entry, std::string& mistake) {
  entry.tokens.clear();
  mistake.clear();
  int depth = 0;
  bool at_line_begin = true;
  while (!AtEnd()) {
    char c = text_[at_];
    if (at_line_begin && entry.tokens.empty() && depth == 0) {
      entry.line = line_;
      entry.after_blank = c == ' ' || c == '\t';
    }
    at_line_begin = false;
    if (c == '\n') {
      ++at_;
      ++line_;
      if (depth == 0 && (!entry.tokens.empty() || !mistake.empty())) return true;
      at_line_begin = true;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == ';' || !mistake.empty()) {
      SkipLine();
    } else if (c == '(') {
      ++depth;
      ++at_;
    } else if (c == ')') {
      ++at_;
      if (--depth < 0) mistake = "has a ) without a (";
      depth = std::max(depth, 0);
    } else if (c == '"') {
      std::string_view token = Quoted();
      if (token.empty()) {
        mistake = "has a quote that is not closed on its line";
        depth = 0;
      } else {
        entry.tokens.push_back(token);
      }
    } else {
      entry.tokens.push_back(Token());
    }
  }
  if (depth > 0) mistake = "has a ( that is not closed";
  return !entry.tokens.empty() || !mistake.empty();
}

// Reads one file, and those that it includes.
class Reader {
 public:
  Reader(const RecordSink& sink, ZoneFileReport& report, uint32_t default_ttl)
      : sink_(sink), report_(report), last_ttl_(default_ttl) {}

  void File(const std::string& path, Name origin, int depth);

 private:
  void TakeEntry(const Entry& entry);
  void TakeDirective(const Entry& entry);
  void TakeInclude(const Entry& entry);
  void TakeRecord(const Entry& entry);
  void Mistake(const Entry& entry, const std::string& what) {
    report_.Mistake(path_ + ":" + std::to_string(entry.line) + ": " + what);
  }

  const RecordSink& sink_;
  ZoneFileReport& report_;
  std::optional<uint32_t> ttl_;  // $TTL
  uint32_t last_ttl_;
  std::optional<Name> owner_;
  // Of the file that is read now.
  std::string path_;
  Name origin_;
  int depth_ = 0;
};

void Reader::File(const std::string& path, Name origin, int depth) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  if (!in || std::filesystem::is_directory(path, error)) {
    report_.Mistake(path + ": cannot be opened; check the path and its mode");
    return;
  }
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::string outer_path = std::exchange(path_, path);
  Name outer_origin = std::exchange(origin_, std::move(origin));
  int outer_depth = std::exchange(depth_, depth);
  std::optional<Name> outer_owner = owner_;
  Lexer lexer(text);
  Entry entry;
  std::string mistake;
  while (lexer.Next(entry, mistake)) {
    if (mistake.empty()) {
      TakeEntry(entry);
    } else {
      Mistake(entry, mistake);
    }
  }
  // RFC 1035 §5.1: an included file changes neither the origin nor the owner of its includer.
  path_ = std::move(outer_path);
  origin_ = std::move(outer_origin);
  depth_ = outer_depth;
  if (depth > 0) owner_ = std::move(outer_owner);
}

void Reader::TakeEntry(const Entry& entry) {
  if (!entry.after_blank && entry.tokens[0].starts_with('$')) {
    TakeDirective(entry);
  } else {
    TakeRecord(entry);
  }
}

void Reader::TakeDirective(const Entry& entry) {
  std::string_view name = entry.tokens[0];
  std::string shown(name);
  if (Same(name, "$INCLUDE")) {
    TakeInclude(entry);
  } else if (Same(name, "$TTL")) {
    auto ttl = entry.tokens.size() == 2 ? ReadTtl(entry.tokens[1]) : std::nullopt;
    if (!ttl) {
      Mistake(entry, shown + " needs one time, as in: $TTL 1h");
      return;
    }
    ttl_ = *ttl;
  } else if (Same(name, "$ORIGIN")) {
    auto origin = entry.tokens.size() == 2
                      ? Name::FromText(entry.tokens[1], origin_)
                      : std::expected<Name, std::string>(std::unexpected("is missing"));
    if (!origin) {
      Mistake(entry, shown + " needs one name; it " + origin.error());
      return;
    }
    origin_ = *origin;
  } else {
    Mistake(entry, shown + " is not served; known are $TTL, $ORIGIN and $INCLUDE");
  }
}

void Reader::TakeInclude(const Entry& entry) {
  if (entry.tokens.size() < 2 || entry.tokens.size() > 3) {
    Mistake(entry, "$INCLUDE needs a file, and may have an origin");
    return;
  }
  if (depth_ + 1 > kIncludeDepthMax) {
    Mistake(entry, "$INCLUDE goes deeper than " + std::to_string(kIncludeDepthMax) + " files");
    return;
  }
  std::string_view file = entry.tokens[1];
  if (file.starts_with('"')) file = file.substr(1, file.size() - 2);
  Name origin = origin_;
  if (entry.tokens.size() == 3) {
    auto given = Name::FromText(entry.tokens[2], origin_);
    if (!given) {
      Mistake(entry, "$INCLUDE's origin " + given.error());
      return;
    }
    origin = *given;
  }
  File((std::filesystem::path(path_).parent_path() / file).string(), std::move(origin), depth_ + 1);
}

// The data of types that zones have most of; nothing when ldns is to read it.
std::optional<Bytes> ReadCommon(Type type, std::string_view text, const Name& origin) {
  if (text == "\\#") return std::nullopt;
  std::string zero_ended(text);
  Bytes rdata(type == Type::kA ? 4 : 16);
  switch (type) {
    case Type::kA:
      if (inet_pton(AF_INET, zero_ended.c_str(), rdata.data()) == 1) return rdata;
      return std::nullopt;
    case Type::kAaaa:
      if (inet_pton(AF_INET6, zero_ended.c_str(), rdata.data()) == 1) return rdata;
      return std::nullopt;
    case Type::kNs:
    case Type::kCname:
    case Type::kPtr:
    case Type::kDname: {
      auto name = Name::FromText(text, origin);
      if (!name) return std::nullopt;
      return Bytes(name->wire().begin(), name->wire().end());
    }
    default:
      return std::nullopt;
  }
}

void Reader::TakeRecord(const Entry& entry) {
  const auto& tokens = entry.tokens;
  size_t at = 0;
  if (!entry.after_blank) {
    auto owner = Name::FromText(tokens[at++], origin_);
    if (!owner) {
      Mistake(entry, "the owner '" + std::string(tokens[0].substr(0, 60)) + "' " + owner.error());
      return;
    }
    owner_ = std::move(*owner);
  }
  if (!owner_) {
    Mistake(entry, "has no owner, and there is no record before it");
    return;
  }
  std::optional<uint32_t> ttl;
  bool has_class = false;
  for (; at < tokens.size(); ++at) {
    bool digit = tokens[at][0] >= '0' && tokens[at][0] <= '9';
    if (digit && !ttl) {
      ttl = ReadTtl(tokens[at]);
      if (ttl) continue;
      Mistake(entry, "'" + std::string(tokens[at].substr(0, 20)) + "' is not a TTL");
      return;
    }
    if (!has_class && (Same(tokens[at], "IN") || Same(tokens[at], "CLASS1"))) {
      has_class = true;
      continue;
    }
    break;
  }
  if (at == tokens.size()) {
    Mistake(entry, "has no type");
    return;
  }
  std::string type_text(tokens[at++]);
  Type type = TypeFromText(type_text);
  if (type == Type{}) {
    Mistake(entry, "'" + type_text.substr(0, 20) + "' is no type (and no class that is served)");
    return;
  }
  if (ttl) last_ttl_ = *ttl;
  uint32_t effective = ttl ? *ttl : ttl_.value_or(last_ttl_);
  if (tokens.size() - at == 1) {
    if (auto rdata = ReadCommon(type, tokens[at], origin_)) {
      sink_({*owner_, type, effective, std::move(*rdata)}, path_, entry.line);
      return;
    }
  }
  std::string text = owner_->ToString() + " " + std::to_string(effective) + " IN " + type_text;
  for (; at < tokens.size(); ++at) text.append(" ").append(tokens[at]);
  auto record = ReadRecord(text, origin_, effective);
  if (!record) {
    Mistake(entry,
            "the " + TypeName(type) + " record of " + owner_->ToString() + " " + record.error());
    return;
  }
  sink_(std::move(*record), path_, entry.line);
}

}  // namespace

void ReadZoneRecords(const std::string& path, const Name& origin, uint32_t default_ttl,
                     const RecordSink& sink, ZoneFileReport& report) {
  Reader(sink, report, default_ttl).File(path, origin, 0);
}

ZoneFileReport LoadZoneFile(const std::string& path, uint32_t default_ttl, Zone& zone) {
  ZoneFileReport report;
  RecordAdder adder(zone);
  auto sink = [&](Record record, const std::string& file, int line) {
    auto where = [&] {
      return file + ":" + std::to_string(line) + ": " + record.owner.ToString() + " " +
             TypeName(record.type) + " ";
    };
    if (!record.owner.IsWithin(zone.apex)) {
      report.Warning(where() + "is outside of the zone " + zone.apex.ToString() + ": left out");
      return;
    }
    const SetMap& sets = adder.At(record.owner);
    if (std::string conflict = Conflict(zone, &sets, record); !conflict.empty()) {
      report.Mistake(where() + conflict);
      return;
    }
    if (auto set = sets.find(record.type); set != sets.end() && set->second.ttl != record.ttl) {
      report.Warning(where() + "has the TTL " + std::to_string(record.ttl) + " and its set " +
                     std::to_string(set->second.ttl) + ": the set's counts");
      record.ttl = set->second.ttl;
    }
    std::string place = file + ":" + std::to_string(line) + ": ";
    if (auto added = adder.Add(std::move(record)); !added) {
      report.Mistake(place + added.error());
    }
  };
  ReadZoneRecords(path, zone.apex, default_ttl, sink, report);
  std::erase_if(zone.names, [](const auto& entry) { return entry.second.empty(); });
  return report;
}

}  // namespace dns
