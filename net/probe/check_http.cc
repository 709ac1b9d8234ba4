#include <algorithm>

#include "net/base/text.h"
#include "net/http/http.h"
#include "net/probe/check_script.h"
#include "net/probe/json_path.h"

namespace net {
namespace {

class HttpCheck final : public CheckScript {
 public:
  HttpCheck(const CheckSpec& spec, std::string_view node_address)
      : spec_(spec),
        request_(Serialize(spec, node_address)),
        parser_(kHttpCheckBytesMax, spec.method == "HEAD") {}

  std::string_view OnConnected() override { return request_; }

  void OnData(std::string_view bytes) override {
    if (outcome() != CheckOutcome::kPending) return;
    auto complete = parser_.Feed(bytes);
    if (!complete) {
      Fail("the answer: " + std::string(ToString(complete.error())));
    } else if (*complete) {
      Judge();
    }
  }

  void OnClosed() override {
    if (outcome() != CheckOutcome::kPending) return;
    auto complete = parser_.Eof();
    if (!complete) {
      Fail("closed before the answer: " + std::string(ToString(complete.error())));
    } else {
      Judge();
    }
  }

 private:
  static std::string Serialize(const CheckSpec& spec, std::string_view node_address) {
    HttpClientRequest request;
    request.method = spec.method;
    request.target = spec.path;
    request.host = spec.host.empty() ? std::string(node_address) : spec.host;
    for (const auto& [name, value] : spec.headers) request.headers.push_back({name, value});
    if (!spec.user.empty()) {
      request.headers.push_back({"Authorization", BasicAuthorization(spec.user, spec.password)});
    }
    if (!spec.body.empty() && FindHeader(request.headers, "Content-Type").empty()) {
      request.headers.push_back({"Content-Type", "application/json"});
    }
    request.body = spec.body;
    return SerializeRequest(request);
  }

  void Judge() {
    const HttpReply& reply = parser_.reply();
    if (reply.status != spec_.expect_status) {
      Fail("status " + std::to_string(reply.status) + ", expected " +
           std::to_string(spec_.expect_status));
      return;
    }
    if (spec_.expect_json.empty()) {
      Conclude(CheckOutcome::kPassed, "status " + std::to_string(reply.status));
      return;
    }
    auto value = JsonValueAt(reply.body, spec_.expect_json);
    if (!value) {
      Fail(Printable(value.error(), kCheckTextMax));
    } else if (*value != spec_.expect_value) {
      Fail(spec_.expect_json + " is \"" + Printable(*value, kCheckTextMax) + "\", expected \"" +
           spec_.expect_value + "\"");
    } else {
      Conclude(CheckOutcome::kPassed,
               spec_.expect_json + " is \"" + Printable(*value, kCheckTextMax) + "\"");
    }
  }

  const CheckSpec& spec_;
  std::string request_;
  HttpResponseParser parser_;
};

}  // namespace

std::unique_ptr<CheckScript> MakeHttpCheck(const CheckSpec& spec, std::string_view node_address) {
  return std::make_unique<HttpCheck>(spec, node_address);
}

}  // namespace net
