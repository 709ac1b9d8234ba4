#include "net/config/toml_reader.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "net/base/check.h"
#include "net/base/text.h"
#include "net/base/units.h"

// Without exceptions toml::parse() answers with a result; header-only, in this one file.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

namespace net {
namespace {

// A configuration above this, all its files together, is a mistake (a log, a core dump).
constexpr size_t kFileBytesMax = size_t{4} << 20;
constexpr size_t kIncludedFilesMax = 256;
constexpr std::string_view kInclude = "include";
// How many known keys an error lists when none is near.
constexpr size_t kListedKeysMax = 40;

struct Position {
  int line = 0;
  int column = 0;
  std::shared_ptr<const std::string> file = nullptr;  // null: the main one
};

Position PositionOf(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column), region.path};
}

// What a person calls the type.
std::string_view TypeInWords(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a section";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a decimal number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time of day";
    case toml::node_type::date_time:
      return "a date with a time";
    case toml::node_type::none:
      break;
  }
  return "nothing";
}

bool IsBareKey(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string JoinPath(const std::string& path, std::string_view key) {
  if (key.empty()) return path;
  std::string name = IsBareKey(key) ? std::string(key) : Quoted(key);
  return path.empty() ? name : path + "." + name;
}

// --- Environment variables in strings -----------------------------------------------------------

bool IsVariableName(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

struct Mistake {
  std::string what;
  std::string remedy;
};

// What `reference`, the text between "${" and "}", stands for.
std::expected<std::string, Mistake> ValueOfVariable(std::string_view reference) {
  const size_t mark = reference.find(":-");
  const std::string name(reference.substr(0, mark));
  if (!IsVariableName(name)) {
    return std::unexpected(Mistake{
        "holds " + Quoted("${" + std::string(reference) + "}") + ", which names no variable",
        "write ${NAME} or ${NAME:-default}; $${ is a plain ${"});
  }
  const char* value = std::getenv(name.c_str());
  if (value != nullptr && *value != '\0') return value;
  if (mark != std::string_view::npos) return std::string(reference.substr(mark + 2));
  if (value != nullptr) return "";
  return std::unexpected(Mistake{"names the environment variable " + name + ", which is not set",
                                 "set it for the program, or write ${" + name + ":-default}"});
}

std::expected<std::string, Mistake> Expanded(std::string_view text) {
  std::string out;
  while (true) {
    const size_t at = text.find("${");
    if (at == std::string_view::npos) return out.append(text);
    if (at > 0 && text[at - 1] == '$') {  // "$${"
      out.append(text, 0, at - 1).append("${");
      text.remove_prefix(at + 2);
      continue;
    }
    const size_t end = text.find('}', at);
    if (end == std::string_view::npos) {
      return std::unexpected(
          Mistake{"holds ${ without a }", "write ${NAME} or ${NAME:-default}; $${ is a plain ${"});
    }
    auto value = ValueOfVariable(text.substr(at + 2, end - at - 2));
    if (!value) return std::unexpected(value.error());
    out.append(text, 0, at).append(*value);
    text.remove_prefix(end + 1);
  }
}

// --- Files
// -----------------------------------------------------------------------------------------

// The text, as long as it is within `bytes_max`.
std::expected<std::string, Mistake> TextOfFile(const std::string& path, size_t bytes_max) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return std::unexpected(Mistake{"cannot be opened: " + std::string(std::strerror(errno)),
                                   "check the path and its permissions"});
  }
  std::string text;
  std::array<char, 16384> chunk{};
  while (in.read(chunk.data(), chunk.size()) || in.gcount() > 0) {
    text.append(chunk.data(), static_cast<size_t>(in.gcount()));
    if (text.size() > bytes_max) {
      return std::unexpected(Mistake{
          "is above the largest size allowed, " + BytesText(static_cast<int64_t>(kFileBytesMax)),
          "check that it is the configuration"});
    }
  }
  if (in.bad()) {
    return std::unexpected(Mistake{"cannot be read: " + std::string(std::strerror(errno)),
                                   "check that it is a file, not a folder"});
  }
  return text;
}

// The *.toml files of a folder, by name. What begins with a dot is an editor's.
std::expected<std::vector<std::string>, Mistake> FilesOfFolder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files;
  auto list = std::filesystem::directory_iterator(folder, error);
  for (; !error && list != std::filesystem::directory_iterator(); list.increment(error)) {
    const std::string name = list->path().filename().string();
    if (name.starts_with('.') || !name.ends_with(".toml")) continue;
    if (files.size() == kIncludedFilesMax) {
      return std::unexpected(Mistake{
          "names a folder of more than " + std::to_string(kIncludedFilesMax) + " .toml files",
          "put several sections into one file"});
    }
    files.push_back(list->path().string());
  }
  if (error) {
    return std::unexpected(
        Mistake{"names the folder " + Quoted(folder) + ", which cannot be read: " + error.message(),
                "make it, or remove the key"});
  }
  std::ranges::sort(files);
  return files;
}

std::string Joined(const std::vector<std::string_view>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ", ";
    if (i == kListedKeysMax) return out + "...";
    out += names[i];
  }
  return out;
}

std::string NumberInWords(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

// Optimal string alignment: insert, delete, replace, or swap two neighbours.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& known) {
  constexpr size_t kWordMax = 64;  // bounds the work; no key is longer
  if (word.empty() || word.size() > kWordMax) return "";
  size_t best = std::max<size_t>(1, std::min<size_t>(3, word.size() / 3)) + 1;
  std::string_view nearest;
  for (std::string_view candidate : known) {
    if (candidate.size() > kWordMax) continue;
    size_t distance = EditDistance(word, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string ConfigError::ToString() const {
  std::string out = file;
  if (line > 0) out += ":" + std::to_string(line);
  out += ": ";
  if (!key.empty()) out += key + ": ";
  out += what;
  if (!remedy.empty()) out += "; " + remedy;
  return out;
}

// The file as parsed, what was asked of each of its sections, and what was wrong.
struct ParsedFile {
  struct Asked {
    std::string path;
    std::set<std::string, std::less<>> keys;
  };

  std::string name;
  bool readable = true;
  toml::table root;
  std::vector<ConfigError> errors;
  std::unordered_map<const toml::table*, Asked> asked;

  void Add(Position at, std::string key, std::string what, std::string remedy) {
    errors.push_back({.file = at.file ? *at.file : name,
                      .line = at.line,
                      .column = at.column,
                      .key = std::move(key),
                      .what = std::move(what),
                      .remedy = std::move(remedy)});
  }

  std::optional<toml::table> Parse(std::string_view text, const std::string& file_name);
  void Merge(toml::table& into, toml::table&& from, const std::string& path);
  void FindUnknownKeys(const toml::table& table);
  std::string RemedyForUnknown(const toml::table& table, std::string_view key) const;
};

std::optional<toml::table> ParsedFile::Parse(std::string_view text, const std::string& file_name) {
  toml::parse_result result = toml::parse(text, std::string_view(file_name));
  if (result) return std::move(result).table();
  const toml::parse_error& error = result.error();
  Position at = PositionOf(error.source());
  at.file = std::make_shared<const std::string>(file_name);
  Add(at, "", "not TOML: " + std::string(error.description()), "");
  return std::nullopt;
}

void ParsedFile::Merge(toml::table& into, toml::table&& from, const std::string& path) {
  for (auto&& [key, node] : from) {
    toml::node* present = into.get(key.str());
    if (present == nullptr) {
      node.visit([&, &name = key](auto& value) { into.insert(name, std::move(value)); });
    } else if (present->is_table() && node.is_table()) {
      Merge(*present->as_table(), std::move(*node.as_table()), JoinPath(path, key.str()));
    } else {
      const Position other = PositionOf(into.find(key.str())->first.source());
      Add(PositionOf(key.source()), JoinPath(path, key.str()),
          "stands already in " + (other.file ? *other.file : name) + ":" +
              std::to_string(other.line),
          "remove one");
    }
  }
}

void ParsedFile::FindUnknownKeys(const toml::table& table) {
  auto it = asked.find(&table);
  if (it == asked.end()) return;  // known, and read by nobody: its owner judges it
  for (const auto& [key, node] : table) {
    if (!it->second.keys.contains(key.str())) {
      Add(PositionOf(key.source()), JoinPath(it->second.path, key.str()),
          node.is_table() || node.is_array_of_tables() ? "unknown section" : "unknown key",
          RemedyForUnknown(table, key.str()));
      continue;
    }
    if (const toml::table* child = node.as_table()) FindUnknownKeys(*child);
    if (const toml::array* list = node.as_array()) {
      for (const toml::node& item : *list) {
        if (const toml::table* child = item.as_table()) FindUnknownKeys(*child);
      }
    }
  }
}

std::string ParsedFile::RemedyForUnknown(const toml::table& table, std::string_view key) const {
  const auto& keys = asked.at(&table).keys;
  std::vector<std::string_view> known(keys.begin(), keys.end());
  if (auto nearest = Nearest(key, known); !nearest.empty()) {
    return "did you mean '" + std::string(nearest) + "'?";
  }
  // Right key, wrong place. The smallest path, so that the answer does not depend on hashing.
  const Asked* owner = nullptr;
  for (const auto& [other, what] : asked) {
    if (what.keys.contains(key) && (owner == nullptr || what.path < owner->path)) owner = &what;
  }
  if (owner != nullptr) {
    return owner->path.empty() ? "it belongs at the top of the file"
                               : "it belongs in [" + owner->path + "]";
  }
  return known.empty() ? "nothing is expected here" : "known here: " + Joined(known);
}

struct TomlSection::Impl {
  ParsedFile* file = nullptr;
  const toml::table* table = nullptr;  // null where the section is absent
  std::string path;
  Position at;

  // Marks the key as known; null if it is absent.
  const toml::node* Find(std::string_view key) const {
    if (table == nullptr) return nullptr;
    file->asked[table].keys.emplace(key);
    return table->get(key);
  }

  Position PositionOfKey(std::string_view key) const {
    if (table != nullptr && !key.empty()) {
      if (auto it = table->find(key); it != table->end()) return PositionOf(it->first.source());
    }
    return at;
  }

  void Error(std::string_view key, std::string what, std::string remedy) const {
    if (file == nullptr) return;
    file->Add(PositionOfKey(key), JoinPath(path, key), std::move(what), std::move(remedy));
  }

  void WrongType(std::string_view key, const toml::node& node, std::string_view expected,
                 std::string remedy) const {
    Error(
        key,
        "is " + std::string(TypeInWords(node)) + ", but " + std::string(expected) + " is expected",
        std::move(remedy));
  }

  // In [min, max]? Otherwise says so, with the values in the words of `show`.
  template <typename T, typename Show>
  bool InRange(std::string_view key, T value, T min, T max, Show show) const {
    if (value >= min && value <= max) return true;
    bool below = value < min;
    Error(key,
          "is " + show(value) + ", which is " +
              (below ? "below the smallest allowed, " : "above the largest allowed, ") +
              show(below ? min : max),
          "set it between " + show(min) + " and " + show(max));
    return false;
  }

  std::optional<std::string> StringValue(std::string_view key, const toml::node& node) const {
    const auto* text = node.as_string();
    if (text == nullptr) {
      WrongType(key, node, "a string",
                node.is_array() || node.is_table() ? "" : "write it in quotes");
      return std::nullopt;
    }
    if (text->get().find('\0') != std::string::npos) {
      Error(key, "holds a NUL character", "remove it");
      return std::nullopt;
    }
    auto expanded = Expanded(text->get());
    if (expanded) return std::move(*expanded);
    file->Add(PositionOf(node.source()), JoinPath(path, key), std::move(expanded.error().what),
              std::move(expanded.error().remedy));
    return std::nullopt;
  }

  // At most `max`? Otherwise says so.
  bool WithinBound(std::string_view key, size_t count, size_t max) const {
    CHECK(max > 0);
    if (count <= max) return true;
    Error(key,
          "has " + std::to_string(count) + " entries, which is above the largest allowed, " +
              std::to_string(max),
          "remove some");
    return false;
  }

  std::shared_ptr<Impl> Child(const toml::table* child, std::string child_path,
                              Position child_at) const {
    auto impl = std::make_shared<Impl>();
    *impl = {.file = file, .table = child, .path = std::move(child_path), .at = child_at};
    if (child != nullptr) file->asked[child].path = impl->path;
    return impl;
  }
};

TomlSection::TomlSection() : impl_(std::make_shared<Impl>()) {}
TomlSection::TomlSection(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
TomlSection::~TomlSection() = default;
TomlSection::TomlSection(const TomlSection&) = default;
TomlSection& TomlSection::operator=(const TomlSection&) = default;

bool TomlSection::present() const { return impl_->table != nullptr; }
const std::string& TomlSection::path() const { return impl_->path; }
int TomlSection::line() const { return impl_->at.line; }
int TomlSection::LineOf(std::string_view key) const { return impl_->PositionOfKey(key).line; }

bool TomlSection::Has(std::string_view key) const { return impl_->Find(key) != nullptr; }

void TomlSection::Error(std::string_view key, std::string what, std::string remedy) const {
  impl_->Error(key, std::move(what), std::move(remedy));
}

std::string TomlSection::FileOf(std::string_view key) const {
  if (!present()) return "";
  const Position at = impl_->PositionOfKey(key);
  return at.file ? *at.file : impl_->file->name;
}

std::string TomlSection::String(std::string_view key, std::string_view fallback) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return std::string(fallback);
  return impl_->StringValue(key, *node).value_or(std::string(fallback));
}

std::string TomlSection::RequiredString(std::string_view key) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) {
    if (present()) {
      impl_->Error(key, "is required, but missing", "add " + std::string(key) + " = \"...\"");
    }
    return "";
  }
  auto value = impl_->StringValue(key, *node);
  if (value && value->empty()) impl_->Error(key, "is required, but empty", "");
  return value.value_or("");
}

std::vector<std::string> TomlSection::Strings(std::string_view key, size_t entries_max) const {
  std::vector<std::string> out;
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return out;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    if (auto value = impl_->StringValue(key, *node)) out.push_back(std::move(*value));
    return out;
  }
  impl_->WithinBound(key, list->size(), entries_max);
  for (size_t i = 0; i < std::min(list->size(), entries_max); ++i) {
    const toml::node& item = *list->get(i);
    if (!item.is_string()) {
      impl_->file->Add(
          PositionOf(item.source()), JoinPath(impl_->path, key),
          "holds " + std::string(TypeInWords(item)) + ", but a list of strings is expected",
          "write each item in quotes");
      continue;
    }
    if (auto value = impl_->StringValue(key, item)) out.push_back(std::move(*value));
  }
  return out;
}

std::vector<Cidr> TomlSection::Networks(std::string_view key, size_t entries_max) const {
  std::vector<Cidr> out;
  for (const std::string& text : Strings(key, entries_max)) {
    auto cidr = Cidr::Parse(text);
    if (cidr) {
      out.push_back(*cidr);
    } else {
      Error(key, cidr.error().what, cidr.error().remedy);
    }
  }
  return out;
}

bool TomlSection::Bool(std::string_view key, bool fallback) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  if (const auto* value = node->as_boolean()) return value->get();
  impl_->WrongType(key, *node, "true or false", "write true or false, without quotes");
  return fallback;
}

int64_t TomlSection::Int(std::string_view key, int64_t fallback, IntRange range) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  const auto* value = node->as_integer();
  if (value == nullptr) {
    impl_->WrongType(key, *node, "a whole number",
                     node->is_string() ? "write it without quotes" : "");
    return fallback;
  }
  auto show = [](int64_t n) { return std::to_string(n); };
  return impl_->InRange(key, value->get(), range.min, range.max, show) ? value->get() : fallback;
}

double TomlSection::Float(std::string_view key, double fallback, double min, double max) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  double value = 0;
  if (const auto* whole = node->as_integer()) {
    value = static_cast<double>(whole->get());
  } else if (const auto* decimal = node->as_floating_point()) {
    value = decimal->get();
  } else {
    impl_->WrongType(key, *node, "a number", node->is_string() ? "write it without quotes" : "");
    return fallback;
  }
  if (!std::isfinite(value)) {
    impl_->Error(key, "is not a finite number",
                 "set it between " + NumberInWords(min) + " and " + NumberInWords(max));
    return fallback;
  }
  return impl_->InRange(key, value, min, max, NumberInWords) ? value : fallback;
}

Duration TomlSection::Time(std::string_view key, Duration fallback, Duration min,
                           Duration max) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  std::optional<Duration> value;
  if (const auto* whole = node->as_integer()) {
    if (whole->get() != 0) {
      impl_->Error(key, "is " + std::to_string(whole->get()) + " without a unit of time",
                   std::string(kDurationRemedy));
      return fallback;
    }
    value = Duration(0);
  } else if (node->is_string()) {
    auto text = impl_->StringValue(key, *node);
    if (!text) return fallback;
    value = ParseDuration(*text);
    if (!value) {
      impl_->Error(key, "is " + Quoted(*text) + ", which is not a length of time",
                   std::string(kDurationRemedy));
      return fallback;
    }
  } else {
    impl_->WrongType(key, *node, "a length of time", std::string(kDurationRemedy));
    return fallback;
  }
  auto show = [](int64_t ns) { return DurationText(Duration(ns)); };
  bool fits = impl_->InRange(key, value->count(), int64_t{min.count()}, int64_t{max.count()}, show);
  return fits ? *value : fallback;
}

int64_t TomlSection::Bytes(std::string_view key, int64_t fallback, IntRange range) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  std::optional<int64_t> value;
  if (const auto* whole = node->as_integer()) {
    value = whole->get();
  } else if (node->is_string()) {
    auto text = impl_->StringValue(key, *node);
    if (!text) return fallback;
    value = ParseBytes(*text);
    if (!value) {
      impl_->Error(key, "is " + Quoted(*text) + ", which is not a number of bytes",
                   std::string(kBytesRemedy));
      return fallback;
    }
  } else {
    impl_->WrongType(key, *node, "a number of bytes", std::string(kBytesRemedy));
    return fallback;
  }
  return impl_->InRange(key, *value, range.min, range.max, BytesText) ? *value : fallback;
}

double TomlSection::Rate(std::string_view key, double fallback, double max) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  if (const auto* whole = node->as_integer(); whole != nullptr && whole->get() == 0) return 0;
  if (!node->is_string()) {
    impl_->WrongType(key, *node, "a rate", std::string(kRateRemedy));
    return fallback;
  }
  auto text = impl_->StringValue(key, *node);
  if (!text) return fallback;
  auto value = ParseRate(*text);
  if (!value) {
    impl_->Error(key, "is " + Quoted(*text) + ", which is not a rate", std::string(kRateRemedy));
    return fallback;
  }
  return impl_->InRange(key, *value, 0.0, max, RateText) ? *value : fallback;
}

uint32_t TomlSection::FileMode(std::string_view key, uint32_t fallback) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return fallback;
  constexpr std::string_view kRemedy = "write an octal mode in quotes, as in \"0600\"";
  if (const auto* whole = node->as_integer()) {  // 0o600 is TOML's own way to say it
    bool octal = whole->flags() == toml::value_flags::format_as_octal;
    if (octal && whole->get() >= 0 && whole->get() <= 0777) {
      return static_cast<uint32_t>(whole->get());
    }
  }
  if (!node->is_string()) {
    impl_->WrongType(key, *node, "a file mode", std::string(kRemedy));
    return fallback;
  }
  auto text = impl_->StringValue(key, *node);
  if (!text) return fallback;
  uint32_t mode = 0;
  const std::string& digits = *text;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || mode > 0777) {
    impl_->Error(key, "is " + Quoted(digits) + ", which is not a file mode between 0000 and 0777",
                 std::string(kRemedy));
    return fallback;
  }
  return mode;
}

int TomlSection::EnumIndex(std::string_view key,
                           const std::vector<std::string_view>& allowed) const {
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return -1;
  auto value = impl_->StringValue(key, *node);
  if (!value) return -1;
  auto it = std::ranges::find(allowed, std::string_view(*value));
  if (it != allowed.end()) return static_cast<int>(it - allowed.begin());
  std::string remedy = "use one of: " + Joined(allowed);
  if (auto nearest = Nearest(*value, allowed); !nearest.empty()) {
    remedy = "did you mean '" + std::string(nearest) + "'? " + remedy;
  }
  impl_->Error(key, "is " + Quoted(*value) + ", which is not known", std::move(remedy));
  return -1;
}

TomlSection TomlSection::Section(std::string_view key) const {
  std::string path = JoinPath(impl_->path, key);
  const toml::node* node = impl_->Find(key);
  if (node != nullptr && !node->is_table()) {
    impl_->WrongType(key, *node, "a section",
                     node->is_array_of_tables() ? "write it once, as [" + path + "]"
                                                : "write it as [" + path + "]");
    node = nullptr;
  }
  return TomlSection(
      impl_->Child(node == nullptr ? nullptr : node->as_table(), path, impl_->PositionOfKey(key)));
}

std::vector<TomlSection> TomlSection::Sections(std::string_view key, size_t entries_max) const {
  std::vector<TomlSection> out;
  std::string path = JoinPath(impl_->path, key);
  const toml::node* node = impl_->Find(key);
  if (node == nullptr) return out;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    impl_->WrongType(key, *node, "a list of sections", "write each as [[" + path + "]]");
    return out;
  }
  impl_->WithinBound(key, list->size(), entries_max);
  for (size_t i = 0; i < std::min(list->size(), entries_max); ++i) {
    const toml::node& item = *list->get(i);
    const toml::table* table = item.as_table();
    if (table == nullptr) {
      impl_->file->Add(
          PositionOf(item.source()), path,
          "holds " + std::string(TypeInWords(item)) + ", but a list of sections is expected",
          "write each as [[" + path + "]]");
      continue;
    }
    std::string item_path = path + "[" + std::to_string(out.size() + 1) + "]";
    out.push_back(TomlSection(impl_->Child(table, item_path, PositionOf(item.source()))));
  }
  return out;
}

std::vector<std::pair<std::string, TomlSection>> TomlSection::NamedSections(
    std::string_view key, size_t entries_max) const {
  std::vector<std::pair<std::string, TomlSection>> out;
  TomlSection parent = Section(key);
  if (!parent.present()) return out;
  for (const auto& [name, node] : *parent.impl_->table) {
    const toml::node* child = parent.impl_->Find(name.str());
    std::string path = JoinPath(parent.path(), name.str());
    if (!child->is_table()) {
      parent.impl_->WrongType(name.str(), *child, "a section", "write it as [" + path + "]");
      continue;
    }
    out.emplace_back(name.str(), TomlSection(parent.impl_->Child(child->as_table(), path,
                                                                 PositionOf(name.source()))));
  }
  // The main file first, then the others by name.
  std::ranges::sort(out, {}, [&](const auto& entry) {
    const Position& at = entry.second.impl_->at;
    const std::string file = at.file ? *at.file : "";
    return std::tuple(file != impl_->file->name, file, at.line, at.column);
  });
  if (!impl_->WithinBound(key, out.size(), entries_max)) out.resize(entries_max);
  return out;
}

struct TomlReader::State {
  ParsedFile file;
  size_t bytes = 0;  // of all files
};

TomlReader::TomlReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TomlReader::~TomlReader() = default;
TomlReader::TomlReader(TomlReader&&) noexcept = default;
TomlReader& TomlReader::operator=(TomlReader&&) noexcept = default;

TomlReader TomlReader::FromString(std::string_view text, std::string name) {
  auto state = std::make_unique<State>();
  ParsedFile& file = state->file;
  file.name = std::move(name);
  if (auto table = file.Parse(text, file.name)) {
    file.root = std::move(*table);
  } else {
    file.readable = false;
  }
  state->bytes = text.size();
  TomlReader reader(std::move(state));
  reader.ReadIncludes();
  return reader;
}

TomlReader TomlReader::FromFile(const std::string& path) {
  auto text = TextOfFile(path, kFileBytesMax);
  if (text) return FromString(*text, path);
  TomlReader reader = FromString("", path);
  reader.state_->file.readable = false;
  reader.state_->file.Add({}, "", std::move(text.error().what), std::move(text.error().remedy));
  return reader;
}

void TomlReader::ReadIncludes() {
  ParsedFile& file = state_->file;
  const TomlSection top = root();
  if (!top.Has(kInclude)) return;
  std::string folder = top.String(kInclude);
  if (folder.empty()) return;
  folder = (std::filesystem::path(file.name).parent_path() / folder).string();
  auto names = FilesOfFolder(folder);
  if (!names) return top.Error(kInclude, names.error().what, names.error().remedy);
  for (const std::string& name : *names) {
    auto text = TextOfFile(name, kFileBytesMax - state_->bytes);
    if (!text) {
      file.Add({.file = std::make_shared<const std::string>(name)}, "", text.error().what,
               text.error().remedy);
      continue;
    }
    state_->bytes += text->size();
    auto table = file.Parse(*text, name);
    if (!table) continue;
    if (auto nested = table->find(kInclude); nested != table->end()) {
      file.Add(PositionOf(nested->first.source()), std::string(kInclude),
               "stands in a file that is included itself", "include from the main file only");
      table->erase(nested);
    }
    file.Merge(file.root, std::move(*table), "");
  }
}

bool TomlReader::readable() const { return state_->file.readable; }

TomlSection TomlReader::root() const {
  auto impl = std::make_shared<TomlSection::Impl>();
  *impl = {.file = &state_->file, .table = &state_->file.root, .path = "", .at = {}};
  state_->file.asked[impl->table].path = "";
  return TomlSection(std::move(impl));
}

std::vector<ConfigError> TomlReader::Finish() {
  ParsedFile& file = state_->file;
  // What is missing in a file that is no TOML is not missing in the operator's eyes.
  if (!file.readable) return {file.errors.front()};
  file.FindUnknownKeys(file.root);
  // The main file first, then the others by name.
  auto order = [&file](const ConfigError& e) {
    return std::tuple(e.file != file.name, std::string_view(e.file), e.line, e.column,
                      std::string_view(e.key), std::string_view(e.what));
  };
  std::ranges::sort(file.errors, {}, order);
  // A key read twice is wrong once.
  auto repeated = std::ranges::unique(file.errors, {}, order);
  file.errors.erase(repeated.begin(), repeated.end());
  return file.errors;
}

}  // namespace net
