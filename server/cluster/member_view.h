// Who belongs to the cluster: a versioned entry a node, joined or removed, with an epoch.
//
// Merging takes for each node the entry with the higher epoch, and of two with the same epoch the
// removed one. So the merge of any views in any order and any number of times gives the same view:
// no lock spans nodes and nobody leads.
//
// A view also carries its lineage: the random identities of the clusters that grew together into
// this one. Two nodes are of one cluster when their lineages meet; strangers are never merged but
// by a join, whatever the links between them. A node that left or was removed takes a new identity.
//
// Pure; a value. The control thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/byte_reader.h"
#include "server/dist/node_name.h"

namespace server {

enum class MemberState : uint8_t { kJoined = 0, kRemoved = 1 };
std::string_view ToString(MemberState state);

struct MemberEntry {
  std::string name;
  MemberState state = MemberState::kJoined;
  uint64_t epoch = 0;

  bool operator==(const MemberEntry&) const = default;
};

class MemberView {
 public:
  MemberView() = default;
  // A node that stands alone, under an identity of its own.
  MemberView(std::string self, uint64_t identity, uint64_t epoch);

  const std::vector<MemberEntry>& entries() const { return entries_; }  // by name
  const std::vector<uint64_t>& lineage() const { return lineage_; }     // ascending
  const MemberEntry* Find(std::string_view name) const;
  bool Joined(std::string_view name) const;
  std::vector<std::string> JoinedNames() const;
  size_t joined_count() const;

  // One cluster: the lineages meet.
  bool Related(const MemberView& other) const { return RelatedTo(other.lineage_); }
  bool RelatedTo(std::span<const uint64_t> lineage) const;  // ascending
  // True when it changed something. Of more than kLineageMax identities the newest stay.
  bool Merge(const MemberView& other);
  // The entry with an epoch above all that is known of it, and not below `epoch_floor` (wall
  // clock in seconds: so a later word beats an earlier one that was not heard of yet).
  void Set(std::string_view name, MemberState state, uint64_t epoch_floor);
  // The view after `joiner` joins: who is joined on either side is joined after it, even when the
  // other side knows it as removed.
  MemberView Joining(const MemberView& joiner, uint64_t epoch_floor) const;

  // As it travels in frames: u16 count, identities, u16 count, entries.
  void AppendTo(std::vector<uint8_t>* out) const;
  // Nothing when malformed: reader.ok() is false then.
  static MemberView Read(net::ByteReader& reader);
  // Equal for equal views, on every node.
  uint64_t Hash() const;

  // For the reader of the file.
  void AddLineage(uint64_t identity);
  // False: there is an entry of that name.
  bool AddEntry(MemberEntry entry);
  // The other identities are dropped; for a node that nobody has joined.
  void TakeLineageOf(const MemberView& other) { lineage_ = other.lineage_; }

  bool operator==(const MemberView&) const = default;

 private:
  std::vector<MemberEntry>::iterator LowerBound(std::string_view name);

  std::vector<MemberEntry> entries_;
  std::vector<uint64_t> lineage_;
};

}  // namespace server
