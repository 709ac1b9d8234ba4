#include "server/im/iq.h"

#include <algorithm>
#include <array>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kStanzaErrorSpace = "urn:ietf:params:xml:ns:xmpp-stanzas";

struct ErrorFact {
  StanzaError error;
  std::string_view name;
  ErrorType type;
};
constexpr std::array kErrors = {
    ErrorFact{StanzaError::kBadRequest, "bad-request", ErrorType::kModify},
    ErrorFact{StanzaError::kConflict, "conflict", ErrorType::kCancel},
    ErrorFact{StanzaError::kFeatureNotImplemented, "feature-not-implemented", ErrorType::kCancel},
    ErrorFact{StanzaError::kForbidden, "forbidden", ErrorType::kAuth},
    ErrorFact{StanzaError::kGone, "gone", ErrorType::kCancel},
    ErrorFact{StanzaError::kInternalServerError, "internal-server-error", ErrorType::kCancel},
    ErrorFact{StanzaError::kItemNotFound, "item-not-found", ErrorType::kCancel},
    ErrorFact{StanzaError::kJidMalformed, "jid-malformed", ErrorType::kModify},
    ErrorFact{StanzaError::kNotAcceptable, "not-acceptable", ErrorType::kModify},
    ErrorFact{StanzaError::kNotAllowed, "not-allowed", ErrorType::kCancel},
    ErrorFact{StanzaError::kNotAuthorized, "not-authorized", ErrorType::kAuth},
    ErrorFact{StanzaError::kPolicyViolation, "policy-violation", ErrorType::kModify},
    ErrorFact{StanzaError::kRecipientUnavailable, "recipient-unavailable", ErrorType::kWait},
    ErrorFact{StanzaError::kRedirect, "redirect", ErrorType::kModify},
    ErrorFact{StanzaError::kRegistrationRequired, "registration-required", ErrorType::kAuth},
    ErrorFact{StanzaError::kRemoteServerNotFound, "remote-server-not-found", ErrorType::kCancel},
    ErrorFact{StanzaError::kRemoteServerTimeout, "remote-server-timeout", ErrorType::kWait},
    ErrorFact{StanzaError::kResourceConstraint, "resource-constraint", ErrorType::kWait},
    ErrorFact{StanzaError::kServiceUnavailable, "service-unavailable", ErrorType::kCancel},
    ErrorFact{StanzaError::kSubscriptionRequired, "subscription-required", ErrorType::kAuth},
    ErrorFact{StanzaError::kUndefinedCondition, "undefined-condition", ErrorType::kCancel},
    ErrorFact{StanzaError::kUnexpectedRequest, "unexpected-request", ErrorType::kWait},
};

const ErrorFact& FactOf(StanzaError error) {
  return *std::ranges::find(kErrors, error, &ErrorFact::error);
}

}  // namespace

std::string_view ToString(ErrorType type) {
  switch (type) {
    case ErrorType::kAuth:
      return "auth";
    case ErrorType::kCancel:
      return "cancel";
    case ErrorType::kContinue:
      return "continue";
    case ErrorType::kModify:
      return "modify";
    case ErrorType::kWait:
      return "wait";
  }
  return "";
}

std::string_view ToString(StanzaError error) { return FactOf(error).name; }

ErrorType TypeOf(StanzaError error) { return FactOf(error).type; }

std::string ErrorXml(ErrorType type, StanzaError error, std::string_view text,
                     std::string_view extra) {
  std::string xml = "<error";
  AppendXmlAttribute(xml, "type", ToString(type));
  (xml += "><") += ToString(error);
  AppendXmlAttribute(xml, "xmlns", kStanzaErrorSpace);
  xml += "/>";
  if (!text.empty()) {
    xml += "<text";
    AppendXmlAttribute(xml, "xmlns", kStanzaErrorSpace);
    xml += " xml:lang='en'>";
    AppendXmlContent(xml, text);
    xml += "</text>";
  }
  (xml += extra) += "</error>";
  return xml;
}

std::string ErrorXml(StanzaError error, std::string_view text, std::string_view extra) {
  return ErrorXml(TypeOf(error), error, text, extra);
}

Parcel ErrorFor(const Parcel& parcel, std::string error_xml) {
  return {.kind = parcel.kind,
          .type = StanzaType::kError,
          .traits = {},
          .from = parcel.to,
          .to = parcel.from,
          .id = parcel.id,
          .lang = {},
          .content = std::make_shared<const std::string>(std::move(error_xml)),
          .mark = {},
          .iq_name = {},
          .iq_space = {}};
}

void AccountView::Tell(const Parcel& request, const SessionId& session, std::string content) {
  std::string xml = "<message";
  AppendXmlAttribute(xml, "from", user().full());
  AppendXmlAttribute(xml, "to", request.from.full());
  ((xml += '>') += content) += "</message>";
  Push(session, std::move(xml));
}

IqCall::IqCall(Parcel request, IqTarget target, SessionId session,
               std::shared_ptr<AccountView> account, Answer answer)
    : request_(std::move(request)),
      target_(target),
      session_(session),
      account_(std::move(account)),
      answer_(std::move(answer)) {}

IqCall::~IqCall() {
  if (answer_) Error(StanzaError::kInternalServerError);
}

XmlElement IqCall::payload() {
  if (read_ == nullptr) {
    // Several children would be no one element; a wrapper takes what there is.
    std::string wrapped = "<iq xmlns='jabber:client'>";
    (wrapped += request_.content_view()) += "</iq>";
    auto stanza = ParseStanza(wrapped, kClientSpace);
    if (!stanza) return {};
    read_ = std::make_unique<Stanza>(std::move(*stanza));
  }
  return read_->root().FirstChild();
}

void IqCall::Result(std::string content) {
  std::exchange(answer_, nullptr)(StanzaType::kResult, std::move(content));
}

void IqCall::Error(StanzaError error, std::string_view text) { ErrorWith(ErrorXml(error, text)); }

void IqCall::ErrorWith(std::string error_xml) {
  std::exchange(answer_, nullptr)(StanzaType::kError, std::move(error_xml));
}

void IqCall::StoreFailed(StoreError error) {
  if (error == StoreError::kBusy || error == StoreError::kDown) {
    ErrorWith(
        ErrorXml(ErrorType::kWait, StanzaError::kResourceConstraint, "the store does not answer"));
  } else {
    Error(StanzaError::kInternalServerError);
  }
}

void IqTable::Add(IqTarget target, std::string_view name, std::string_view space,
                  IqHandler handler) {
  entries_.push_back({.target = target,
                      .name = std::string(name),
                      .space = std::string(space),
                      .handler = std::move(handler)});
}

void IqTable::Feature(IqTarget target, std::string_view feature) {
  auto& features = features_[static_cast<size_t>(target)];
  const auto at = std::ranges::lower_bound(features, feature);
  if (at == features.end() || *at != feature) features.insert(at, std::string(feature));
}

const IqHandler* IqTable::Find(IqTarget target, std::string_view name,
                               std::string_view space) const {
  // A few dozen, compared by length first: no index is faster.
  for (const Entry& entry : entries_) {
    if (entry.target == target && entry.space == space && entry.name == name) return &entry.handler;
  }
  return nullptr;
}

const std::vector<std::string>& IqTable::features(IqTarget target) const {
  return features_[static_cast<size_t>(target)];
}

void IqTable::ForEach(
    const std::function<void(IqTarget, std::string_view, std::string_view)>& visit) const {
  for (const Entry& entry : entries_) visit(entry.target, entry.name, entry.space);
}

}  // namespace server
