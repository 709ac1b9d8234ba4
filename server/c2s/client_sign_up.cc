// Accounts that are made before anybody is authenticated (XEP-0077 section 3.1), where the operator
// wants it: over TLS alone.
#include <utility>

#include "server/c2s/client_stream.h"
#include "server/xmpp/xml_text.h"

namespace server {

bool ClientStream::MaySignUp(const XmlElement& element) const {
  return ground_.sign_up.enabled && secure_ && state_ == State::kFeatures &&
         element.Is("iq", kClientSpace) && element.FirstChild().Is("query", kRegisterSpace);
}

void ClientStream::AnswerSignUp(std::string_view id, std::string_view type,
                                std::string_view content) {
  std::string out = "<iq";
  AppendXmlAttribute(out, "type", type);
  AppendXmlAttribute(out, "id", id);
  AppendXmlAttribute(out, "from", login_->domain);
  if (content.empty()) return port_.Write(out + "/>");
  out += '>';
  out += content;
  port_.Write(out + "</iq>");
}

void ClientStream::OnSignUp(const XmlElement& iq) {
  const std::string_view type = iq.Attribute("type");
  const std::string_view id = iq.Attribute("id");
  if (type == "get") return AnswerSignUp(id, "result", SignUpForm(ground_.sign_up));
  if (type != "set") return AnswerSignUp(id, "error", ErrorXml(StanzaError::kBadRequest));
  if (++login_->sign_ups > kSignUpTries) {
    return Fail(net::StreamError::kPolicyViolation, "too many tries");
  }
  auto request = ReadSignUp(iq.FirstChild(), login_->domain, ground_.sign_up);
  if (!request) return AnswerSignUp(id, "error", request.error());
  login_->sign_up_id = id;
  Wait(true);
  port_.SignUp(std::move(*request));
}

void ClientStream::SignedUp(std::string_view error_xml) {
  if (state_ != State::kFeatures || login_ == nullptr || !login_->sign_up_id) return;
  const std::string id = *std::exchange(login_->sign_up_id, std::nullopt);
  AnswerSignUp(id, error_xml.empty() ? "result" : "error", error_xml);
  Wait(false);
}

}  // namespace server
