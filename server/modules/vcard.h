// vcard-temp (XEP-0054): everybody may read an account's vCard, the account alone may write it.
// The photo's hash, which avatars by vCard go by (XEP-0153), is told by VcardPhotoHash().
#pragma once

#include <string>
#include <string_view>

#include "server/im/iq.h"

namespace server {

struct VcardOptions {
  bool enabled = true;
  size_t bytes_max = 128 * 1024;  // <policy-violation/> above
};
void AddVcard(IqTable& table, ModuleGround& ground, const VcardOptions& options);

// SHA-1 of the photo's bytes in lower-case hex; "" where there is none. Pure.
std::string VcardPhotoHash(std::string_view vcard_xml);

}  // namespace server
