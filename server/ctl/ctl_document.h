// A document of GraphQL, as far as `mongooseimctl graphql 'DOC'` needs: one operation, its fields
// with literal arguments, no variables, aliases, fragments or directives, which are refused in
// words.
//
//   query { server { status { statusCode message } } }
//   mutation { server { joinCluster(node: "mongooseim@localhost") } }
//
// Pure and bounded. https://spec.graphql.org/October2021/#sec-Language
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/ctl/ctl_json.h"

namespace server {

inline constexpr size_t kDocumentBytesMax = 64 * 1024;
inline constexpr int kDocumentDepthMax = 16;

struct DocumentField {
  std::string name;
  // As the command line has them: strings bare, lists and objects as JSON.
  std::vector<std::pair<std::string, std::string>> arguments;
  std::vector<DocumentField> fields;  // none: all of it
};

struct CtlDocument {
  char kind = 'Q';  // as CtlCommandSpec has it
  std::vector<DocumentField> fields;
};

// The error says what stands where it must not.
std::expected<CtlDocument, std::string> ParseDocument(std::string_view text);

// What the fields choose of a value, in their order; lists element by element. The error names the
// field that is not there.
std::expected<CtlJson, std::string> Choose(const CtlJson& value,
                                           const std::vector<DocumentField>& fields);

}  // namespace server
