// Compiled answers: what a query needs, ready to be copied.
//
// Off the query path, every (name, type) is compiled into wire bytes (compile.h). An Answer holds
// them in the order of the message's sections; the set that is shuffled is kept record by record.
// Most sets of a large zone are simple (not signed, no names in their data): their records lie
// behind each other in the image, and that is the answer. All of it is reachable from one
// Generation, which is published by one atomic pointer (publisher.h), so that every answer given at
// one moment comes from one state of the world. Everything here is immutable after publication: any
// number of workers read it without locks.
//
// What changes often is apart from what does not, so that a change costs what it changes: the Image
// is of the zones as they were read; the answers that depend on pools, the zones' SOA (ZoneState)
// and names that came in between (the overlay, an Image of its own that is looked at first) are
// made anew and share the rest.
//
// Compression: names are written against the question's name, which always stands at offset 12.
// Where the question's name is not known when compiling (a wildcard, a name below a cut or one that
// does not exist), pointers to the zone's apex are listed in `apex_pointers` and patched when
// answering.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dns/wire/name.h"
#include "dns/wire/wire.h"
#include "dns/zone/dnssec.h"
#include "dns/zone/zone.h"
#include "dns/zone/zone_keys.h"

namespace dns {

struct Section {
  Bytes bytes;
  uint16_t count = 0;                   // records
  std::vector<uint16_t> apex_pointers;  // offsets in `bytes` of pointers to the apex
};

// One record of the set that is shuffled, and the additional records that go with it.
struct Choice {
  uint32_t offset = 0;  // in Form::choice_bytes
  uint16_t size = 0;
  uint16_t extra_size = 0;
  uint32_t extra_offset = 0;  // in Form::extra_bytes
  uint16_t extra_count = 0;
  uint32_t weight = 1;
};

// A signed subset: with DNSSEC, the subsets that can be given out are drawn and signed beforehand.
struct Variant {
  std::vector<uint8_t> members;  // indices of choices
  Bytes rrsigs;                  // whole records; empty: sign when asked (wildcards)
  uint16_t rrsig_count = 0;
};

// A denial that is signed when asked, because its owner is the question's name.
struct LazyNsec {
  std::vector<Type> types;
  uint32_t ttl = 0;
};

struct Form {
  Section head;  // fixed records of the answer section: CNAMEs, sets that are not shuffled
  std::vector<Choice> choices;
  Bytes choice_bytes;
  Bytes extra_bytes;
  uint16_t take = 0;          // how many choices one answer holds
  uint16_t uniform_size = 0;  // all choices have this size, equal weights and no extras; else 0
  bool weighted = false;
  uint64_t weight_sum = 0;
  std::vector<Variant> variants;
  Section authority;
  bool negative = false;              // the zone's SOA (ZoneState) goes to the authority section
  Section nsec;                       // the NSEC that denies, and its signatures; behind the SOA
  Section glue;                       // all of it or TC (RFC 9471)
  Section additional;                 // a courtesy
  std::optional<LazyNsec> lazy_nsec;  // sign this NSEC into the authority section
  // Sets whose owner is the question's name, which is not known before: the last of the head, and
  // the choices. They are signed when asked.
  std::shared_ptr<const Rrset> lazy_head;
  std::shared_ptr<const Rrset> lazy_choices;
};

enum class AnswerKind : uint8_t {
  kPositive,
  kNoData,
  kNxDomain,
  kReferral,
  kDname,  // the DNAME is the head, with pointers to its owner; a CNAME is made of `dname_target`
};

struct Answer {
  Form plain;
  std::unique_ptr<const Form> signed_form;  // for DO; null in zones that are not signed
  Rcode rcode = Rcode::kNoError;
  AnswerKind kind = AnswerKind::kPositive;
  bool authoritative = true;
  uint16_t ede_code = 0;  // with ede_text: an Extended DNS Error (RFC 8914)
  std::string ede_text;
  Bytes dname_target;  // in wire form
  uint32_t dname_ttl = 0;
};

// A simple set: this, then its records' bytes, in Image::simple. Owners are pointers to the
// question.
struct SimpleSet {
  uint32_t bytes = 0;
  uint16_t count = 0;
  uint16_t uniform_size = 0;  // the records are of this size and are shuffled; else 0
};

constexpr uint32_t kNoRef = UINT32_MAX;
// A reference to an answer: by default one of the image; with this bit one of the generation's
// answers that change; with the other, an offset into Image::simple.
constexpr uint32_t kDynamic = 0x80000000u;
constexpr uint32_t kSimple = 0x40000000u;

struct Node {
  uint32_t name_offset = 0;  // in Image::names
  uint8_t name_size = 0;
  enum : uint8_t {
    kDelegated = 1,     // at or below a zone cut: nothing below it is ours
    kDname = 2,         // names below it are made from `below`
    kBelowInImage = 4,  // of an overlay's node: `below` is a node of the image
  };
  uint8_t flags = 0;
  uint16_t entry_count = 0;
  uint32_t first_entry = 0;
  uint32_t zone = 0;
  // The node "*" right below this one; with kDname, the answer for names below.
  uint32_t below = kNoRef;
  uint32_t other = kNoRef;  // the answer for all types without an entry
};

struct Entry {
  uint16_t type = 0;
  uint32_t answer = 0;
};

struct ImageZone {
  std::shared_ptr<const Zone> source;
  uint8_t apex_size = 0;
  uint32_t absent = kNoRef;  // the answer for names that do not exist
  uint32_t any = kNoRef;     // for ANY at names that have something; kNoRef: each has its own
};

// What of a zone changes without its names: one per zone of the image.
struct ZoneState {
  uint32_t serial = 0;
  Rrset soa;  // with that serial
  // The SOA of negative answers, without and with its signatures.
  Section negative;
  Section negative_signed;
  KeyState keys;
};

// A zone's records at one moment, for transfers: those of `zone`, but at the names in `changed` the
// sets that stand there (keys at the apex, pools, the overlay). No SOA.
struct ZoneContents {
  std::shared_ptr<const Zone> zone;
  std::map<Name, SetMap> changed;
  std::set<Name> cuts;  // and names with a DNAME: what is below them is not signed
};

// All names of all zones in one hash table.
struct Image {
  std::vector<Node> nodes;
  std::vector<Entry> entries;
  std::vector<Answer> answers;
  std::vector<ImageZone> zones;
  Bytes names;
  Bytes simple;
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    uint32_t node = kNoRef;
  };
  std::vector<Slot> slots;  // a power of two
  size_t labels_max = 0;    // of any node
};

struct Generation {
  uint64_t id = 0;
  std::shared_ptr<const Image> image;
  std::shared_ptr<const Image> overlay;  // null: none. Its nodes' zones are the image's.
  std::vector<std::shared_ptr<const Answer>> dynamic;
  std::vector<std::shared_ptr<const ZoneState>> zones;  // as Image::zones
  std::vector<std::shared_ptr<const ZoneContents>> contents;
  // For what workers sign themselves.
  Validity validity;
};

struct Found {
  // One of them; both null: no zone of ours.
  const Answer* answer = nullptr;
  const SimpleSet* simple = nullptr;
  const ImageZone* zone = nullptr;
  const ZoneState* state = nullptr;
  bool exists = false;     // the name itself (or a wildcard for it) is there
  uint8_t dname_size = 0;  // of the name that the DNAME stands at

  bool is_ours() const { return zone != nullptr; }
};

// Finds the answer for a parsed query. One probe for names that exist (two with an overlay); else
// one more a label for the closest encloser (RFC 4592 §3.3.1).
Found Find(const Generation& generation, const Query& query);

// The node of a name, or null. For AXFR, ctl and tests.
const Node* FindNode(const Image& image, const Name& name);

}  // namespace dns
