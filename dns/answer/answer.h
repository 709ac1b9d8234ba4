// Compiled answers: what a query needs, ready to be copied.
//
// Off the query path, every (name, type) is compiled into wire bytes (compile.h). An Answer holds
// them in the order of the message's sections; the set that is shuffled is kept record by record.
// All of it is reachable from one Generation, which is published by one atomic pointer
// (publisher.h), so that every answer given at one moment comes from one state of the world.
// Everything here is immutable after publication: any number of workers read it without locks.
//
// Compression: names are written against the question's name, which always stands at offset 12.
// Where the question's name is not known when compiling (a wildcard, a name below a cut or one that
// does not exist), pointers to the zone's apex are listed in `apex_pointers` and patched when
// answering.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/wire/name.h"
#include "dns/wire/wire.h"
#include "dns/zone/dnssec.h"
#include "dns/zone/zone.h"

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
  Bytes rrsig;                   // a whole record; empty: sign when asked (wildcards)
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
  Section additional;
  bool additional_required = false;   // glue: all of it or TC (RFC 9471)
  std::optional<LazyNsec> lazy_nsec;  // sign this NSEC into the authority section
  // Sets whose owner is the question's name, which is not known before: the last of the head, and
  // the choices. They are signed when asked.
  std::shared_ptr<const Rrset> lazy_head;
  std::shared_ptr<const Rrset> lazy_choices;
};

enum class AnswerKind : uint8_t { kPositive, kNoData, kNxDomain, kReferral };

struct Answer {
  Form plain;
  std::unique_ptr<const Form> signed_form;  // for DO; null in zones that are not signed
  Rcode rcode = Rcode::kNoError;
  AnswerKind kind = AnswerKind::kPositive;
  bool authoritative = true;
  uint16_t ede_code = 0;  // with ede_text: an Extended DNS Error (RFC 8914)
  std::string ede_text;
};

constexpr uint32_t kNoRef = UINT32_MAX;
// An answer of the image, or (with this bit) one of the generation's pool answers.
constexpr uint32_t kDynamic = 0x80000000u;

struct Node {
  uint32_t name_offset = 0;  // in Image::names
  uint8_t name_size = 0;
  bool delegated = false;  // at or below a zone cut: nothing below it is ours
  uint16_t entry_count = 0;
  uint32_t first_entry = 0;
  uint32_t zone = 0;
  uint32_t wildcard = kNoRef;  // the node "*" right below this one
  uint32_t other = kNoRef;     // the answer for all types without an entry
};

struct Entry {
  uint16_t type = 0;
  uint32_t answer = 0;
};

struct ImageZone {
  std::shared_ptr<const Zone> source;
  std::shared_ptr<const SigningKey> key;  // null: not signed
  uint8_t apex_size = 0;
  uint32_t absent = kNoRef;  // the answer for names that do not exist
  uint32_t serial = 0;
};

// All names of all zones in one hash table.
struct Image {
  std::vector<Node> nodes;
  std::vector<Entry> entries;
  std::vector<Answer> answers;
  std::vector<ImageZone> zones;
  Bytes names;
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
  std::vector<std::shared_ptr<const Answer>> dynamic;
  // For what workers sign themselves.
  Validity validity;

  const Answer& At(uint32_t ref) const {
    return (ref & kDynamic) != 0 ? *dynamic[ref & ~kDynamic] : image->answers[ref];
  }
};

struct Found {
  const Answer* answer = nullptr;  // null: no zone of ours
  const ImageZone* zone = nullptr;
  bool exists = false;  // the name itself (or a wildcard for it) is there
};

// Finds the answer for a parsed query. At most one probe for names that exist; else one probe a
// label for the closest encloser (RFC 4592 §3.3.1).
Found Find(const Generation& generation, const Query& query);

// The node of a name, or null. For AXFR, ctl and tests.
const Node* FindNode(const Image& image, const Name& name);

}  // namespace dns
