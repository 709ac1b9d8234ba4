// Writes record sets as wire bytes for one question's name: owners and the names that RFC 3597 lets
// be compressed become pointers to the question, which always stands at offset 12.
#pragma once

#include <vector>

#include "dns/answer/answer.h"
#include "dns/zone/zone.h"

namespace dns {

class FormWriter {
 public:
  // `variable`: the question's name is not `qname` but one below it, or one that `qname`, a
  // wildcard, stands for. Then only names equal to `qname` and pointers to the apex can be short.
  FormWriter(const Name& qname, bool variable, const Name& apex)
      : qname_(qname), variable_(variable), apex_(apex) {}

  // One record. `pointers`: where pointers to the apex are listed; null: names are written in full
  // where they are not the question's.
  void Record(Bytes& out, const Rrset& set, ByteView rdata, std::vector<uint16_t>* pointers) const;
  void Set(Section& out, const Rrset& set) const;

 private:
  void WriteName(Bytes& out, const Name& name, std::vector<uint16_t>* pointers) const;
  void WriteRdata(Bytes& out, Type type, ByteView rdata, std::vector<uint16_t>* pointers) const;

  const Name& qname_;
  bool variable_;
  const Name& apex_;
};

}  // namespace dns
