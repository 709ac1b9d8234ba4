// Prosody's tables and lists: read or refused, whatever stands there.
#include <cstdint>
#include <string_view>

#include "net/base/check.h"
#include "server/transfer/lua_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto table = server::ReadLuaTable(input);
  CHECK(table.has_value() || !table.error().empty());
  const auto list = server::ReadLuaList(input);
  CHECK(list.has_value() || !list.error().empty());
  return 0;
}
