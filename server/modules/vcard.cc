#include "server/modules/vcard.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "net/base/base64.h"
#include "server/modules/guards.h"

namespace server {
namespace {

constexpr std::string_view kVcardSpace = "vcard-temp";

void GetVcard(ModuleGround& ground, IqCall call) {
  const bool own = call.own();
  if (!own && call.account().Blocks(call.request().from.Bare())) {
    return call.Error(StanzaError::kServiceUnavailable);
  }
  std::string user = call.account().user().full();
  ground.store.Vcard(std::move(user), [call = std::move(call),
                                       own](std::expected<std::string, StoreError> xml) mutable {
    if (!xml) return call.StoreFailed(xml.error());
    if (!xml->empty()) return call.Result(std::move(*xml));
    // To others there is no telling it from an account that does not exist.
    call.Error(own ? StanzaError::kItemNotFound : StanzaError::kServiceUnavailable);
  });
}

void Set(ModuleGround& ground, size_t bytes_max, IqCall call) {
  if (!call.own()) return call.Error(StanzaError::kForbidden);
  const XmlElement vcard = call.payload();
  if (!vcard) return call.Error(StanzaError::kBadRequest);
  PutVcard put{.user = call.account().user().full(), .xml = {}};
  if (vcard.FirstChild()) vcard.AppendTo(put.xml, kClientSpace);  // an empty one is none
  if (put.xml.size() > bytes_max) return call.Error(StanzaError::kPolicyViolation, "too large");
  WriteBatch batch;
  batch.emplace_back(std::move(put));
  ground.store.Write(std::move(batch), [call = std::move(call)](
                                           std::expected<std::monostate, StoreError> done) mutable {
    if (!done) return call.StoreFailed(done.error());
    const auto account = call.shared_account();
    call.Result();
    account->Changed(AccountChange::kVcard);
  });
}

}  // namespace

void AddVcard(IqTable& table, ModuleGround& ground, const VcardOptions& options) {
  if (!options.enabled) return;
  table.Add(IqTarget::kAccount, "vCard", kVcardSpace,
            [&ground, bytes_max = options.bytes_max](IqCall call) {
              call.is_set() ? Set(ground, bytes_max, std::move(call))
                            : GetVcard(ground, std::move(call));
            });
  table.Feature(IqTarget::kServer, kVcardSpace);
  table.Feature(IqTarget::kAccount, kVcardSpace);
}

std::string VcardPhotoHash(std::string_view vcard_xml) {
  const auto vcard = ParseStanza(vcard_xml, kClientSpace);
  if (!vcard) return {};
  const XmlElement photo = vcard->root().Child("PHOTO", kVcardSpace);
  const XmlElement value = photo ? photo.Child("BINVAL", kVcardSpace) : photo;
  if (!value) return {};
  std::string text = value.Text();
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
  const auto bytes = net::Base64Decode(text);
  if (!bytes || bytes->empty()) return {};
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(bytes->data()), bytes->size(), digest.data());
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kHex[byte >> 4U];
    hex += kHex[byte & 15U];
  }
  return hex;
}

}  // namespace server
