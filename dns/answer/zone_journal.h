// What changed from serial to serial of a zone, for secondaries that ask for that alone (IXFR out,
// RFC 1995): the last steps, in memory. Whoever asks for more, or asks after the zone was built
// anew (an edited file, other keys, new signatures, a restart), gets all of it.
//
// In a signed zone a step is kept where no type comes to a name or leaves it: else the chain of its
// NSEC is another one. Pure. The control thread writes; the steps that it hands out never change,
// and any thread reads them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/zone/dnssec.h"

namespace dns {

struct ZoneStep {
  Record from;  // the SOA before
  Record to;    // and after
  std::vector<Record> removed;
  std::vector<Record> added;
};
using ZoneSteps = std::vector<std::shared_ptr<const ZoneStep>>;

class ZoneJournal {
 public:
  static constexpr size_t kStepsMax = 256;
  static constexpr size_t kBytesMax = 1 << 20;

  // What is published now. `signatures`: of a signed zone.
  void Publish(const std::shared_ptr<const ZoneContents>& contents,
               const std::shared_ptr<const ZoneState>& state, SignatureStore& signatures);
  // The zone was built anew: nothing that came before leads to it.
  void Reset();
  // All steps, the oldest first.
  ZoneSteps steps() const { return {steps_.begin(), steps_.end()}; }

 private:
  // The records at one name, sorted, with their signatures.
  using Records = std::vector<Record>;
  // What stands at the names that can change without a build.
  using Names = std::map<Name, Records>;

  static Records RecordsAt(const ZoneContents& contents, const ZoneState& state, const Name& name,
                           SignatureStore& signatures);
  // Nothing where the step cannot be told.
  std::optional<ZoneStep> Step(const ZoneContents& contents, const ZoneState& state,
                               const Names& names, SignatureStore& signatures) const;
  void Keep(ZoneStep step);

  std::shared_ptr<const ZoneContents> contents_;  // null: nothing yet
  std::shared_ptr<const ZoneState> state_;
  Names names_;
  std::deque<std::shared_ptr<const ZoneStep>> steps_;
  size_t bytes_ = 0;
};

// Where to begin for one who has `serial`: the index of its step; nothing where it is not there.
std::optional<size_t> FirstStep(const ZoneSteps& steps, uint32_t serial);

}  // namespace dns
