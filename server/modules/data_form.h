// Data forms (XEP-0004): what a client fills in, and what it is given to fill in.
//
// Pure; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kDataFormSpace = "jabber:x:data";
// Above these a form is none.
inline constexpr size_t kFormFieldsMax = 64;
inline constexpr size_t kFormValuesMax = 256;  // of all its fields

struct FormField {
  std::string var;
  std::string type;  // "": the default, text-single
  std::vector<std::string> values;
  std::string extra = {};  // written XML behind the values
};

struct DataForm {
  std::string type;  // form, submit, cancel, result
  std::vector<FormField> fields;

  const FormField* Find(std::string_view var) const;
  // The first of a field; "" where there is none.
  std::string_view Value(std::string_view var) const;
  // Of the hidden field FORM_TYPE (XEP-0068).
  std::string_view form_type() const { return Value("FORM_TYPE"); }
};

// Of <x xmlns='jabber:x:data'/>. Nothing where it is none, too large, or has two fields of one
// name.
std::optional<DataForm> ReadDataForm(const XmlElement& x);
void AppendDataForm(std::string& out, const DataForm& form);

// xs:boolean.
std::optional<bool> FormBoolean(std::string_view value);

}  // namespace server
