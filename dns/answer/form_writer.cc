#include "dns/answer/form_writer.h"

#include "net/base/check.h"

namespace dns {

void FormWriter::WriteName(Bytes& out, const Name& name, std::vector<uint16_t>* pointers) const {
  if (variable_ && qname_.is_wildcard() && name == qname_) {
    Append16(out, 0xc000u | kHeaderBytes);
    return;
  }
  // Labels up to the longest suffix that can be pointed to, then the pointer.
  const Name& target = variable_ ? apex_ : qname_;
  Name rest = name;
  while (!rest.is_root()) {
    if (!variable_ && target.IsWithin(rest)) {
      Append16(out, 0xc000u | (kHeaderBytes + target.size() - rest.size()));
      return;
    }
    if (variable_ && pointers != nullptr && rest == apex_) {
      pointers->push_back(static_cast<uint16_t>(out.size()));
      Append16(out, 0xc000u);
      return;
    }
    Append(out, rest.wire().first(rest.wire()[0] + 1u));
    rest = rest.Parent();
  }
  out.push_back(0);
}

void FormWriter::WriteRdata(Bytes& out, Type type, ByteView rdata,
                            std::vector<uint16_t>* pointers) const {
  size_t names = 0;
  size_t before = 0;
  switch (type) {
    case Type::kNs:
    case Type::kCname:
    case Type::kPtr:
      names = 1;
      break;
    case Type::kSoa:
      names = 2;
      break;
    case Type::kMx:
      names = 1;
      before = 2;
      break;
    default:
      break;
  }
  Append(out, rdata.first(before));
  rdata = rdata.subspan(before);
  for (; names > 0; --names) {
    size_t size = RdataNameSize(rdata);
    auto name = Name::FromWire(rdata.first(size));
    CHECK(name.has_value());
    WriteName(out, *name, pointers);
    rdata = rdata.subspan(size);
  }
  Append(out, rdata);
}

void FormWriter::Record(Bytes& out, const Rrset& set, ByteView rdata,
                        std::vector<uint16_t>* pointers) const {
  WriteName(out, set.owner, pointers);
  Append16(out, static_cast<uint16_t>(set.type));
  Append16(out, kClassIn);
  Append32(out, set.ttl);
  size_t size_at = out.size();
  Append16(out, 0);
  WriteRdata(out, set.type, rdata, pointers);
  Put16(out.data() + size_at, out.size() - size_at - 2);
}

void FormWriter::Set(Section& out, const Rrset& set) const {
  for (const Bytes& rdata : set.rdatas) {
    Record(out.bytes, set, rdata, &out.apex_pointers);
    ++out.count;
  }
}

}  // namespace dns
