// What a node knows of its cluster between two starts: its view, and how often it started.
//
// The file is text, so that an operator can read it, and ends with a checksum, so that a torn or
// edited one is refused with words instead of making a node stand alone in silence.
//
//   mongooseim-cluster 1
//   node mongooseim@host
//   incarnation 1764201600123
//   shared 0
//   lineage 0f3a…
//   member mongooseim@host joined 1764201600
//   end 1c0ffee…
//
// Storage is where the bytes go; DiskStorage writes a file atomically and durably, tests hold a
// twin that loses, tears and refuses. Control thread; a write blocks it for an fsync, and is rare.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "server/cluster/member_view.h"

namespace server {

struct MemberFile {
  std::string node;  // whose it is: a data folder never changes its node
  // One more than the largest so far at each start, and at least the wall clock in milliseconds, so
  // that a node that lost its disk is not taken for its past.
  uint64_t incarnation = 0;
  // Somebody was offered this view: its identity may live on elsewhere and must be kept.
  bool shared = false;
  MemberView view;

  bool operator==(const MemberFile&) const = default;
};

std::string MemberFileText(const MemberFile& file);
// The error names the line, what is wrong and the remedy. `name` is how the file is called in it.
std::expected<MemberFile, std::string> ParseMemberFile(std::string_view text,
                                                       std::string_view name);

class Storage {
 public:
  virtual ~Storage() = default;
  // Nothing: there never was a file. An error says what and where.
  virtual std::expected<std::optional<std::string>, std::string> Load() = 0;
  // When it returns, the bytes survive a loss of power; when it fails, the old ones are still
  // there.
  virtual std::expected<void, std::string> Save(std::string_view bytes) = 0;
  virtual std::string Name() const = 0;
};

// PATH.new is written, flushed and renamed over PATH, and the folder flushed. Mode 0600.
class DiskStorage final : public Storage {
 public:
  explicit DiskStorage(std::string path) : path_(std::move(path)) {}
  std::expected<std::optional<std::string>, std::string> Load() override;
  std::expected<void, std::string> Save(std::string_view bytes) override;
  std::string Name() const override { return path_; }

 private:
  std::string path_;
};

}  // namespace server
