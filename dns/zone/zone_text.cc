#include "dns/zone/zone_text.h"

#include <ldns/ldns.h>

#include <memory>

namespace dns {
namespace {

struct Free {
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
  void operator()(ldns_rdf* rdf) const { ldns_rdf_deep_free(rdf); }
  void operator()(ldns_buffer* buffer) const { ldns_buffer_free(buffer); }
  void operator()(char* text) const { LDNS_FREE(text); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

std::expected<Record, std::string> FromLdns(ldns_rr* rr) {
  if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN) return std::unexpected("is not of class IN");
  ldns_rr2canonical(rr);
  Record record;
  auto owner = Name::FromWire({ldns_rdf_data(ldns_rr_owner(rr)), ldns_rdf_size(ldns_rr_owner(rr))});
  if (!owner) return std::unexpected("has an owner name that is not valid");
  record.owner = *owner;
  record.type = static_cast<Type>(ldns_rr_get_type(rr));
  record.ttl = ldns_rr_ttl(rr);
  Owned<ldns_buffer> buffer(ldns_buffer_new(512));
  if (!buffer || ldns_rr_rdata2buffer_wire(buffer.get(), rr) != LDNS_STATUS_OK) {
    return std::unexpected("could not be written in wire form");
  }
  const uint8_t* data = ldns_buffer_begin(buffer.get());
  record.rdata.assign(data, data + ldns_buffer_position(buffer.get()));
  switch (record.type) {
    case Type::kOpt:
    case Type::kTsig:
    case Type::kNxname:
      return std::unexpected("is of a type that no zone may hold");
    case Type::kRrsig:
    case Type::kNsec:
      return std::unexpected("is a record that signing makes; leave it out of the zone");
    default:
      return record;
  }
}

Owned<ldns_rdf> OriginRdf(const Name& origin) {
  ByteView wire = origin.wire();
  return Owned<ldns_rdf>(ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, wire.size(), wire.data()));
}

}  // namespace

Type TypeFromText(const std::string& text) {
  if (text == "A") return Type::kA;  // most records'; ldns compares with the names of all types
  if (text == "AAAA") return Type::kAaaa;
  return static_cast<Type>(ldns_get_rr_type_by_name(text.c_str()));
}

std::expected<Record, std::string> ReadRecord(std::string_view text, const Name& origin,
                                              uint32_t default_ttl) {
  Owned<ldns_rdf> origin_rdf = OriginRdf(origin);
  ldns_rr* raw = nullptr;
  ldns_status status =
      ldns_rr_new_frm_str(&raw, std::string(text).c_str(), default_ttl, origin_rdf.get(), nullptr);
  Owned<ldns_rr> rr(raw);
  if (status != LDNS_STATUS_OK) return std::unexpected(ldns_get_errorstr_by_id(status));
  return FromLdns(rr.get());
}

std::string ToPlainText(const Record& record) {
  std::string generic = record.owner.ToString() + " " + std::to_string(record.ttl) + " IN TYPE" +
                        std::to_string(static_cast<uint16_t>(record.type)) + " \\# " +
                        std::to_string(record.rdata.size()) + " ";
  for (uint8_t byte : record.rdata) {
    constexpr char kHex[] = "0123456789abcdef";
    generic += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return generic;
}

std::string ToText(const Record& record) {
  // RFC 3597's generic form is what every record can be read from; ldns then prints the type's own.
  std::string generic = ToPlainText(record);
  ldns_rr* raw = nullptr;
  if (ldns_rr_new_frm_str(&raw, generic.c_str(), 0, nullptr, nullptr) != LDNS_STATUS_OK) {
    return generic;
  }
  Owned<ldns_rr> rr(raw);
  Owned<char> text(ldns_rr2str(rr.get()));
  if (!text) return generic;
  std::string line = text.get();
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

}  // namespace dns
