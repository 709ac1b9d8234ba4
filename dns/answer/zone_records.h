// All records of a zone at one moment, one after the other, for transfers: nothing is gathered
// first, so that a zone of a million names costs what is under way and holds nobody.
//
// A signed zone comes as signed: each set with its signatures, and the NSEC chain of the names that
// are there (RFC 4035 §2.3), since the compact denials that are served here cannot be transferred.
// Pure but for the signatures, which any thread may ask for. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "dns/answer/answer.h"
#include "dns/zone/dnssec.h"

namespace dns {

class ZoneRecords {
 public:
  // `signatures`: null for a zone that is not signed.
  ZoneRecords(std::shared_ptr<const ZoneContents> contents, std::shared_ptr<const ZoneState> state,
              SignatureStore* signatures);

  // In canonical order of names, but that a name's NSEC comes when the next name is known; without
  // the SOA, which frames a transfer, but with its signature.
  std::optional<Record> Next();

 private:
  void Step();  // queues the records of the next name
  void AddName(const Name& name, const SetMap& sets);
  void AddSigned(const Rrset& set);
  void AddNsec(const Name& next);
  void AddAll(const Rrset& set);

  std::shared_ptr<const ZoneContents> contents_;
  std::shared_ptr<const ZoneState> state_;
  SignatureStore* signatures_;
  std::map<Name, SetMap>::const_iterator plain_;
  std::map<Name, SetMap>::const_iterator changed_;
  bool ended_ = false;
  std::optional<Name> cut_;   // the one that we are at or below
  std::optional<Name> last_;  // the name that waits for its NSEC
  std::vector<Type> last_types_;
  std::deque<Record> queue_;
};

}  // namespace dns
