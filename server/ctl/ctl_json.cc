#include "server/ctl/ctl_json.h"

#include "net/base/text.h"

namespace server {

CtlJson CtlJson::Texts(const std::vector<std::string>& values) {
  CtlJson list = List();
  for (const std::string& value : values) list.Add(Text(value));
  return list;
}

std::string CtlJson::Pretty(int depth) const {
  if (kind_ == Kind::kScalar) return scalar_;
  if (kind_ == Kind::kText) {
    std::string quoted;
    net::AppendJsonString(quoted, scalar_);
    return quoted;
  }
  const bool object = kind_ == Kind::kObject;
  if (values_.empty()) return object ? "{}" : "[]";
  const std::string margin(2 * (static_cast<size_t>(depth) + 1), ' ');
  std::string out = object ? "{\n" : "[\n";
  for (size_t i = 0; i < values_.size(); ++i) {
    out += margin;
    if (object) {
      net::AppendJsonString(out, values_[i].first);
      out += " : ";
    }
    out += values_[i].second.Pretty(depth + 1);
    out += i + 1 < values_.size() ? ",\n" : "\n";
  }
  return out + std::string(2 * static_cast<size_t>(depth), ' ') + (object ? "}" : "]");
}

}  // namespace server
