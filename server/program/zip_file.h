// A ZIP file of a few members, stored as they are (PKWARE's APPNOTE 6.3, sections 4.3 and 4.4.5):
// what people can open anywhere.
//
// Pure. A member is below 4 GiB.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

// (name, content)
using ZipMember = std::pair<std::string, std::string>;

std::string ZipOf(const std::vector<ZipMember>& members);
uint32_t Crc32(std::string_view bytes);

}  // namespace server
