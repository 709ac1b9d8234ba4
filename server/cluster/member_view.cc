#include "server/cluster/member_view.h"

#include <algorithm>
#include <utility>

#include "net/base/byte_writer.h"
#include "net/base/hash.h"
#include "server/cluster/limits.h"

namespace server {
namespace {

// The order of versions: the later entry replaces the earlier one.
bool Later(const MemberEntry& a, const MemberEntry& b) {
  if (a.epoch != b.epoch) return a.epoch > b.epoch;
  return a.state == MemberState::kRemoved && b.state == MemberState::kJoined;
}

bool ByName(const MemberEntry& entry, std::string_view name) { return entry.name < name; }

}  // namespace

std::string_view ToString(MemberState state) {
  return state == MemberState::kJoined ? "joined" : "removed";
}

MemberView::MemberView(std::string self, uint64_t identity, uint64_t epoch)
    : entries_({{std::move(self), MemberState::kJoined, epoch}}), lineage_({identity}) {}

std::vector<MemberEntry>::iterator MemberView::LowerBound(std::string_view name) {
  return std::lower_bound(entries_.begin(), entries_.end(), name, ByName);
}

const MemberEntry* MemberView::Find(std::string_view name) const {
  const auto it = std::lower_bound(entries_.begin(), entries_.end(), name, ByName);
  return it != entries_.end() && it->name == name ? &*it : nullptr;
}

bool MemberView::Joined(std::string_view name) const {
  const MemberEntry* entry = Find(name);
  return entry != nullptr && entry->state == MemberState::kJoined;
}

std::vector<std::string> MemberView::JoinedNames() const {
  std::vector<std::string> names;
  for (const MemberEntry& entry : entries_) {
    if (entry.state == MemberState::kJoined) names.push_back(entry.name);
  }
  return names;
}

size_t MemberView::joined_count() const {
  return static_cast<size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const MemberEntry& e) { return e.state == MemberState::kJoined; }));
}

bool MemberView::RelatedTo(std::span<const uint64_t> lineage) const {
  auto a = lineage_.begin();
  auto b = lineage.begin();
  while (a != lineage_.end() && b != lineage.end()) {
    if (*a == *b) return true;
    if (*a < *b) {
      ++a;
    } else {
      ++b;
    }
  }
  return false;
}

bool MemberView::Merge(const MemberView& other) {
  bool changed = false;
  for (const MemberEntry& theirs : other.entries_) {
    auto it = LowerBound(theirs.name);
    if (it == entries_.end() || it->name != theirs.name) {
      entries_.insert(it, theirs);
      changed = true;
    } else if (Later(theirs, *it)) {
      *it = theirs;
      changed = true;
    }
  }
  const std::vector<uint64_t> before = lineage_;
  for (uint64_t identity : other.lineage_) AddLineage(identity);
  return changed || lineage_ != before;
}

void MemberView::Set(std::string_view name, MemberState state, uint64_t epoch_floor) {
  auto it = LowerBound(name);
  if (it == entries_.end() || it->name != name) {
    entries_.insert(it, {std::string(name), state, std::max<uint64_t>(epoch_floor, 1)});
    return;
  }
  it->state = state;
  it->epoch = std::max(it->epoch + 1, epoch_floor);
}

MemberView MemberView::Joining(const MemberView& joiner, uint64_t epoch_floor) const {
  MemberView after = *this;
  after.Merge(joiner);
  for (const MemberView* side : {this, &joiner}) {
    for (const MemberEntry& entry : side->entries_) {
      if (entry.state == MemberState::kJoined && !after.Joined(entry.name)) {
        after.Set(entry.name, MemberState::kJoined, epoch_floor);
      }
    }
  }
  return after;
}

void MemberView::AppendTo(std::vector<uint8_t>* out) const {
  net::AppendNumber(out, lineage_.size(), 2);
  for (uint64_t identity : lineage_) net::AppendNumber(out, identity, 8);
  net::AppendNumber(out, entries_.size(), 2);
  for (const MemberEntry& entry : entries_) {
    net::AppendNumber(out, entry.name.size(), 1);
    net::AppendBytes(out, net::BytesOf(entry.name));
    net::AppendNumber(out, static_cast<size_t>(entry.state), 1);
    net::AppendNumber(out, entry.epoch, 8);
  }
}

MemberView MemberView::Read(net::ByteReader& reader) {
  MemberView view;
  const auto refuse = [&reader] {
    reader.Take(SIZE_MAX);
    return MemberView();
  };
  const size_t identities = reader.Number(2);
  if (identities > kLineageMax) return refuse();
  for (size_t i = 0; i < identities; ++i) {
    const uint64_t identity = reader.Number(8);
    if (!view.lineage_.empty() && identity <= view.lineage_.back()) return refuse();
    view.lineage_.push_back(identity);
  }
  const size_t entries = reader.Number(2);
  if (entries > kEntriesReadMax) return refuse();
  for (size_t i = 0; i < entries && reader.ok(); ++i) {
    const auto name = reader.Vector(1);
    MemberEntry entry{{name.begin(), name.end()}, MemberState::kJoined, 0};
    const size_t state = reader.Number(1);
    entry.epoch = reader.Number(8);
    // Ascending names, so a view has one encoding and no name twice.
    if (!IsNodeName(entry.name) || state > 1 ||
        (i > 0 && entry.name <= view.entries_.back().name)) {
      return refuse();
    }
    entry.state = static_cast<MemberState>(state);
    view.entries_.push_back(std::move(entry));
  }
  if (!reader.ok()) return {};
  return view;
}

uint64_t MemberView::Hash() const {
  std::vector<uint8_t> bytes;
  AppendTo(&bytes);
  return net::StableHash({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void MemberView::AddLineage(uint64_t identity) {
  const auto it = std::lower_bound(lineage_.begin(), lineage_.end(), identity);
  if (it != lineage_.end() && *it == identity) return;
  lineage_.insert(it, identity);
  // Keeping the k largest of a union is again a merge in any order. Identities begin with the time
  // they were made at, so the largest are the newest.
  if (lineage_.size() > kLineageMax) lineage_.erase(lineage_.begin());
}

bool MemberView::AddEntry(MemberEntry entry) {
  auto it = LowerBound(entry.name);
  if (it != entries_.end() && it->name == entry.name) return false;
  entries_.insert(it, std::move(entry));
  return true;
}

}  // namespace server
