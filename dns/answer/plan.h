// What an answer is made of, before it is bytes: RFC 1034 §4.3.2's steps, done once a name and
// type.
#pragma once

#include <optional>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/zone_context.h"

namespace dns {

// Longest chain of CNAMEs that one answer follows.
constexpr int kCnameHopsMax = 8;
// Sets of addresses that one answer adds for the hosts it names. Glue has no such limit.
constexpr size_t kAdditionalSetsMax = 16;
// RFC 8482 §4.2.
constexpr uint32_t kAnyTtl = 3600;

// Sets are the context's, or the plan's own.
struct Plan {
  Name qname;
  bool variable = false;
  std::vector<const Rrset*> head;
  std::optional<Rrset> made;          // behind the head: a set that no zone holds
  const PoolSet* pool_set = nullptr;  // shuffled by the pool's rules
  const Rrset* shuffled = nullptr;    // shuffled: a static set of addresses
  std::vector<const Rrset*> extra;    // additional addresses of hosts that the answer names
  const Rrset* referral = nullptr;    // NS of a cut: authority, never signed
  const Rrset* ds = nullptr;          // of a cut: for those who set DO, signed
  std::vector<const Rrset*> glue;     // of the cut's own name servers
  bool negative = false;              // SOA in the authority section
  std::optional<Rrset> nsec;
  std::optional<LazyNsec> lazy_nsec;
  Rcode rcode = Rcode::kNoError;
  AnswerKind kind = AnswerKind::kPositive;
  bool authoritative = true;
  bool all_down = false;
};

class Planner {
 public:
  Planner(const ZoneContext& zone, const Name& qname);

  // The answer for one type, or for all types that are not there.
  Plan ForType(std::optional<Type> type);
  // ANY: a CNAME, or one HINFO that says where to read on; NODATA where there is nothing.
  Plan ForAny();
  // What denies all other types at the name itself, whatever alias stands there: NSEC and RRSIG are
  // answered with it.
  Plan OwnNsec();
  Plan Referral(const Name& cut);
  // The DS of a cut belongs to the parent (RFC 4035 §3.1.4.1).
  Plan DsOfCut();
  // For names that do not exist; the question's name is not known.
  Plan Nowhere();

  // Pools that the plan depends on, bit i for pool i.
  uint64_t pools() const { return pools_; }
  // Does the plan hold the zone's SOA in its answer?
  bool uses_soa() const { return uses_soa_; }

 private:
  bool Take(const Name& at, Type type);
  void AddHosts(const Rrset& set, std::vector<const Rrset*>& out);
  Plan Deny(const Name& at);
  Plan Absent(const Name& at);
  std::vector<Type> NsecTypes(const Name& name) const;
  Rrset Nsec(const Name& owner, std::vector<Type> types) const;

  const ZoneContext& zone_;
  Plan plan_;
  uint64_t pools_ = 0;
  bool uses_soa_ = false;
};

}  // namespace dns
