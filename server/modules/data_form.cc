#include "server/modules/data_form.h"

#include <algorithm>
#include <array>

#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::array<std::string_view, 4> kTypes = {"form", "submit", "cancel", "result"};

}  // namespace

const FormField* DataForm::Find(std::string_view var) const {
  const auto at = std::ranges::find(fields, var, &FormField::var);
  return at == fields.end() ? nullptr : &*at;
}

std::string_view DataForm::Value(std::string_view var) const {
  const FormField* field = Find(var);
  return field == nullptr || field->values.empty() ? std::string_view() : field->values.front();
}

std::optional<DataForm> ReadDataForm(const XmlElement& x) {
  if (!x.Is("x", kDataFormSpace)) return std::nullopt;
  DataForm form;
  form.type = x.Attribute("type");
  if (std::ranges::find(kTypes, form.type) == kTypes.end()) return std::nullopt;
  size_t values = 0;
  for (XmlElement child = x.FirstChild(); child; child = child.Next()) {
    if (!child.Is("field", kDataFormSpace)) continue;
    FormField field;
    field.var = child.Attribute("var");
    field.type = child.Attribute("type");
    if (field.type == "fixed") continue;  // words for people
    if (form.fields.size() == kFormFieldsMax || form.Find(field.var) != nullptr) {
      return std::nullopt;
    }
    for (XmlElement value = child.FirstChild(); value; value = value.Next()) {
      if (!value.Is("value", kDataFormSpace)) continue;
      if (++values > kFormValuesMax) return std::nullopt;
      field.values.push_back(value.Text());
    }
    form.fields.push_back(std::move(field));
  }
  return form;
}

void AppendDataForm(std::string& out, const DataForm& form) {
  out += "<x";
  AppendXmlAttribute(out, "xmlns", kDataFormSpace);
  AppendXmlAttribute(out, "type", form.type);
  out += '>';
  for (const FormField& field : form.fields) {
    out += "<field";
    AppendXmlAttribute(out, "var", field.var);
    if (!field.type.empty()) AppendXmlAttribute(out, "type", field.type);
    out += '>';
    for (const std::string& value : field.values) {
      out += "<value>";
      AppendXmlContent(out, value);
      out += "</value>";
    }
    (out += field.extra) += "</field>";
  }
  out += "</x>";
}

std::optional<bool> FormBoolean(std::string_view value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return std::nullopt;
}

}  // namespace server
