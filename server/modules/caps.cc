#include "server/modules/caps.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "net/base/base64.h"

namespace server {
namespace {

void AppendForm(std::string& text, DataForm form) {
  (text += form.form_type()) += '<';
  std::ranges::sort(form.fields, {}, &FormField::var);
  for (FormField& field : form.fields) {
    if (field.var == "FORM_TYPE") continue;
    (text += field.var) += '<';
    std::ranges::sort(field.values);
    for (const std::string& value : field.values) (text += value) += '<';
  }
}

}  // namespace

std::string CapsVer(std::vector<DiscoIdentity> identities, std::vector<std::string> features,
                    std::vector<DataForm> forms) {
  std::string text;
  std::vector<std::string> lines;
  for (const DiscoIdentity& one : identities) {
    lines.push_back(one.category + "/" + one.type + "/" + one.lang + "/" + one.name + "<");
  }
  std::ranges::sort(lines);
  for (const std::string& line : lines) text += line;
  std::ranges::sort(features);
  for (const std::string& feature : features) (text += feature) += '<';
  std::ranges::sort(forms, {}, [](const DataForm& form) { return form.form_type(); });
  for (DataForm& form : forms) AppendForm(text, std::move(form));
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return net::Base64Encode(
      std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace server
