// A query of an archive (XEP-0313 section 4) as it was read: filters, page, order.
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/im/iq.h"
#include "server/store/store.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr size_t kArchiveIdsMax = 50;            // of the field `ids`
inline constexpr size_t kArchiveQueryIdBytesMax = 256;  // it goes back with every message

struct ArchiveLimits {
  uint32_t page = 50;  // where the client names no size
  uint32_t page_max = 250;
};

struct ArchiveRequest {
  std::string query_id;
  ArchiveQuery query;  // without its owner
  // Entries that must exist and that are no bounds of `query`.
  std::vector<uint64_t> must_exist;
  std::vector<uint64_t> ids;  // where not empty, of these alone; sorted
  bool from_first = false;    // the page begins, or may begin, with the first that matches
  bool to_last = false;       // and may end with the last
  bool count_only = false;
  bool flipped = false;
};

// Of <query/> in an IQ of type set; the error is the XEP's.
std::expected<ArchiveRequest, StanzaError> ReadArchiveRequest(const XmlElement& query,
                                                              const ArchiveLimits& limits);
// <query/> with the form that says what may be asked.
std::string ArchiveFormXml();

// An entry's id as text, and back: decimal, in the one way of writing it.
std::string ArchiveIdText(uint64_t id);
std::optional<uint64_t> ParseArchiveId(std::string_view text);

}  // namespace server
