// Values of what a balancer answers in JSON. One of another version may lack some: then "", 0,
// false, and a list without entries.
//
// Pure; thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lb {

using Json = nlohmann::ordered_json;

inline std::string TextAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

inline double NumberAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

inline bool FlagAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

inline const Json& ArrayAt(const Json& object, const char* key) {
  static const Json kEmpty = Json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

}  // namespace lb
