// Reads a TOML file key by key and remembers everything that is wrong with it, so that one run of
// `PROGRAM check FILE` names all mistakes: file, line, key, what is wrong, and the remedy.
//
// Every getter marks its key as known. Finish() then reports each key of the file that nobody asked
// for, with the nearest known name ("did you mean 'idle_timeout'?"). A getter that finds a mistake
// records it and returns the default, so reading goes on; callers look at errors() once, at the
// end.
//
//   TomlReader reader = TomlReader::FromFile("mongooselb.toml");
//   TomlSection process = reader.root().Section("process");
//   int64_t workers = process.Int("workers", 1, {.min = 0, .max = 256});
//   if (auto errors = reader.Finish(); !errors.empty()) ...
//
// Every list is read with a bound: an array beyond it never comes out of the reader, and what is
// above is a mistake like any other.
//
// Strings may name environment variables: "${NAME}", or "${NAME:-default}" where it need not be
// set; "$${" is a plain "${". A file may say `include = "conf.d"` at its top: the *.toml files of
// that folder (relative to the file, in the order of their names) are read as if they stood in it.
// Sections may be continued in another file; a key, or a list of sections, stands in one.
//
// Used at start-up and reload only; one thread. A TomlSection must not outlive its TomlReader.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/address.h"
#include "net/base/clock.h"

namespace net {

struct ConfigError {
  std::string file;
  int line = 0;  // 1-based; 0 where no line is known (the file is missing)
  int column = 0;
  std::string key;     // dotted path, e.g. "pool.xmpp.node[2].weight"
  std::string what;    // "is 70000, which is above the largest allowed, 65535"
  std::string remedy;  // "set it between 1 and 65535"; may be empty

  // "mongooselb.toml:12: listener.c2s.poool: unknown key; did you mean 'pool'?"
  std::string ToString() const;
};

struct IntRange {
  int64_t min = INT64_MIN;
  int64_t max = INT64_MAX;
};

class TomlSection {
 public:
  struct Impl;

  // A section that stands nowhere in the file: every getter returns its default.
  TomlSection();
  ~TomlSection();
  TomlSection(const TomlSection&);
  TomlSection& operator=(const TomlSection&);

  bool present() const;             // stands in the file
  const std::string& path() const;  // "pool.xmpp"; "" for the root
  int line() const;
  int LineOf(std::string_view key) const;  // of the section where the key is absent
  // The file where the key (or else the section) stands; "" where neither does.
  std::string FileOf(std::string_view key) const;

  bool Has(std::string_view key) const;  // also marks the key as known

  std::string String(std::string_view key, std::string_view fallback = "") const;
  std::string RequiredString(std::string_view key) const;
  // A string, or an array of at most `entries_max` strings.
  std::vector<std::string> Strings(std::string_view key, size_t entries_max) const;
  // The same of networks, such as "192.0.2.0/24".
  std::vector<Cidr> Networks(std::string_view key, size_t entries_max) const;
  bool Bool(std::string_view key, bool fallback) const;
  int64_t Int(std::string_view key, int64_t fallback, IntRange range = {}) const;
  double Float(std::string_view key, double fallback, double min, double max) const;
  // "250ms", "5s", "10m", "2h", "7d", "0" (units ns us ms s m h d; a bare number other than 0 is an
  // error that names the units).
  Duration Time(std::string_view key, Duration fallback, Duration min, Duration max) const;
  // Bytes: "64KiB", "16MiB", "1GiB", "4096".
  int64_t Bytes(std::string_view key, int64_t fallback, IntRange range = {}) const;
  // "200/s", "50/m", "1000/h" as events a second; "0" for none.
  double Rate(std::string_view key, double fallback, double max) const;
  // "0600": an octal file mode.
  uint32_t FileMode(std::string_view key, uint32_t fallback) const;

  // One of the listed names; the error lists them all.
  template <typename E>
  E Enum(std::string_view key, E fallback,
         const std::vector<std::pair<std::string_view, E>>& names) const {
    std::vector<std::string_view> allowed;
    for (const auto& [name, value] : names) allowed.push_back(name);
    int index = EnumIndex(key, allowed);
    return index < 0 ? fallback : names[static_cast<size_t>(index)].second;
  }

  TomlSection Section(std::string_view key) const;  // [key]; may be absent
  // [[key]], at most so many.
  std::vector<TomlSection> Sections(std::string_view key, size_t entries_max) const;
  // [key.NAME] for every NAME, in the order of the file, at most so many.
  std::vector<std::pair<std::string, TomlSection>> NamedSections(std::string_view key,
                                                                 size_t entries_max) const;

  // Records a mistake that the caller found at this key (or at the section, with an empty key).
  void Error(std::string_view key, std::string what, std::string remedy = "") const;

 private:
  friend class TomlReader;
  explicit TomlSection(std::shared_ptr<Impl> impl);
  int EnumIndex(std::string_view key, const std::vector<std::string_view>& allowed) const;

  std::shared_ptr<Impl> impl_;
};

class TomlReader {
 public:
  // With the files that it includes.
  static TomlReader FromFile(const std::string& path);
  // The same for a text that would stand at the path `name`.
  static TomlReader FromString(std::string_view text, std::string name);
  ~TomlReader();
  TomlReader(TomlReader&&) noexcept;
  TomlReader& operator=(TomlReader&&) noexcept;

  // False where the file cannot be read or is no TOML: then that is the only error that is told.
  bool readable() const;
  TomlSection root() const;
  // Adds an error for each unknown key and returns all errors in the order of the file. Where it is
  // not readable() root() is empty, and what readers miss in it is left out.
  std::vector<ConfigError> Finish();

 private:
  struct State;
  explicit TomlReader(std::unique_ptr<State> state);
  void ReadIncludes();
  std::unique_ptr<State> state_;
};

// The nearest of `known` to `word` within a small edit distance, or "".
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace net
