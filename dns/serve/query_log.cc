#include "dns/serve/query_log.h"

#include "dns/wire/name.h"

namespace dns {

std::string ToText(const QueryLogEntry& entry) {
  std::string text = "client=" + entry.client.ToString();
  text += " transport=";
  text += kTransportNames[static_cast<size_t>(entry.transport)];
  text += " name=" + NameToText({entry.name.data(), entry.name_size});
  text += " type=" + TypeName(static_cast<Type>(entry.type));
  text += " rcode=";
  text += RcodeName(static_cast<Rcode>(entry.rcode));
  text += " bytes=" + std::to_string(entry.bytes) + " do=" + (entry.dnssec_ok ? "1" : "0");
  return text;
}

}  // namespace dns
