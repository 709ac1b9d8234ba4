#include <memory>

#include "net/base/text.h"
#include "net/probe/check_script.h"
#include "net/xmpp/xml_parser.h"

namespace net {
namespace {

constexpr std::string_view kStreams = "http://etherx.jabber.org/streams";
constexpr std::string_view kConditions = "urn:ietf:params:xml:ns:xmpp-streams";
constexpr std::string_view kEnd = "</stream:stream>";

class XmppCheck final : public CheckScript {
 public:
  explicit XmppCheck(const CheckSpec& spec)
      : opening_("<?xml version='1.0'?><stream:stream xmlns='" + EscapeMarkup(spec.xmlns) +
                 "' xmlns:stream='" + std::string(kStreams) + "' to='" + EscapeMarkup(spec.to) +
                 "' version='1.0'>"),
        parser_(MakeXmlParser()) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), &XmppCheck::OnStart, &XmppCheck::OnEnd);
    XML_SetStartDoctypeDeclHandler(parser_.get(), &XmppCheck::OnDoctype);
  }

  std::string_view OnConnected() override { return opening_; }

  void OnData(std::string_view bytes) override {
    if (outcome() != CheckOutcome::kPending) return;
    size_t allowed = kXmppCheckBytesMax - seen_;
    bool over = bytes.size() > allowed;
    if (over) bytes = bytes.substr(0, allowed);
    seen_ += bytes.size();
    XML_Status status =
        XML_Parse(parser_.get(), bytes.data(), static_cast<int>(bytes.size()), XML_FALSE);
    if (outcome() != CheckOutcome::kPending) return;
    if (status == XML_STATUS_ERROR) {
      Fail(std::string("not XML: ") + XML_ErrorString(XML_GetErrorCode(parser_.get())));
    } else if (over) {
      Fail("no <stream:features> within " + std::to_string(kXmppCheckBytesMax) + " bytes");
    }
  }

  void OnClosed() override {
    Fail(depth_ == 0 ? "closed before a stream was opened" : "closed before <stream:features>");
  }

  std::string_view Farewell() const override { return opened_ ? kEnd : std::string_view(); }

 private:
  static void OnStart(void* self, const char* name, const char** attributes) {
    static_cast<XmppCheck*>(self)->Start(SplitXmlName(name), attributes);
  }
  static void OnEnd(void* self, const char* name) {
    static_cast<XmppCheck*>(self)->End(SplitXmlName(name));
  }
  static void OnDoctype(void* self, const char*, const char*, const char*, int) {
    static_cast<XmppCheck*>(self)->Stop("a document type declaration in the stream");
  }

  void Stop(std::string why) {
    Fail(std::move(why));
    XML_StopParser(parser_.get(), XML_FALSE);
  }

  void Start(XmlName name, const char**) {
    ++depth_;
    bool stream_ns = name.space == kStreams;
    if (depth_ == 1) {
      if (!stream_ns || name.local != "stream") {
        Stop("opened with <" + Printable(name.local, kCheckTextMax) + ">, not with a stream");
      }
      opened_ = true;
    } else if (depth_ == 2) {
      in_features_ = stream_ns && name.local == "features";
      in_error_ = stream_ns && name.local == "error";
      if (!in_features_ && !in_error_) {
        Stop("<" + Printable(name.local, kCheckTextMax) + "> came before <stream:features>");
      }
    } else if (depth_ == 3 && in_error_ && name.space == kConditions && name.local != "text") {
      Stop("stream error: " + Printable(name.local, kCheckTextMax));
    }
  }

  void End(XmlName) {
    --depth_;
    if (depth_ != 1) return;
    if (in_error_) Stop("stream error without a condition");
    if (in_features_) {
      Conclude(CheckOutcome::kPassed, "stream features came");
      XML_StopParser(parser_.get(), XML_FALSE);
    }
  }

  std::string opening_;
  XmlParser parser_;
  size_t seen_ = 0;
  int depth_ = 0;
  bool opened_ = false;
  bool in_features_ = false;
  bool in_error_ = false;
};

}  // namespace

std::unique_ptr<CheckScript> MakeXmppCheck(const CheckSpec& spec) {
  return std::make_unique<XmppCheck>(spec);
}

}  // namespace net
