#include "server/transfer/lua_table.h"

#include <gtest/gtest.h>

#include <string>

namespace server {
namespace {

std::string Told(const LuaValue& value) {
  switch (value.kind) {
    case LuaValue::Kind::kNil:
      return "nil";
    case LuaValue::Kind::kBoolean:
      return value.boolean ? "true" : "false";
    case LuaValue::Kind::kNumber:
      return std::to_string(value.number);
    case LuaValue::Kind::kText:
      return "'" + value.text + "'";
    case LuaValue::Kind::kTable:
      break;
  }
  std::string text = "{";
  for (const LuaField& field : value.fields)
    text += Told(field.key) + ":" + Told(field.value) + " ";
  return text + "}";
}
std::string Read(const std::string& text) {
  const auto value = ReadLuaTable(text);
  return value ? Told(*value) : value.error();
}

TEST(LuaTable, Values) {
  EXPECT_EQ(Read("return {};"), "{}");
  EXPECT_EQ(Read("return { \"a\"; true, [\"k\"] = -1.5; [false] = { nil; }; name = 'x'; 2 };\n"),
            "{1.000000:'a' 2.000000:true 'k':-1.500000 false:{1.000000:nil } 'name':'x' "
            "3.000000:2.000000 }");
  EXPECT_EQ(Read(R"(return "\"\\\n\t\065\0\195\182")"),
            "'\"\\\n\tA" + std::string(1, '\0') + "\xc3\xb6'");
  EXPECT_EQ(Read("return 1e+20"), "100000000000000000000.000000");
  EXPECT_EQ(Read("return nilly"), "line 1: no value");
}

TEST(LuaTable, WhatIsNoneSaysWhere) {
  EXPECT_EQ(Read(""), "line 1: it does not begin with 'return'");
  EXPECT_EQ(Read("return {\n\"a\"\n"), "line 3: ';' or '}' is missing");
  EXPECT_EQ(Read("return {\n[\"a\"] 1 }"), "line 2: no key");
  EXPECT_EQ(Read("return \"abc"), "line 1: a string does not end");
  EXPECT_EQ(Read("return \"\\"), "line 1: a string does not end");
  EXPECT_EQ(Read("return \"\\300\""), "line 1: no such character");
  EXPECT_EQ(Read("return \"\\q\""), "line 1: no such escape");
  EXPECT_EQ(Read("return -"), "line 1: no number");
  EXPECT_EQ(Read("return {} {}"), "line 1: more than one value");
  EXPECT_EQ(Read("return os.execute('true')"), "line 1: no value");
  EXPECT_EQ(Read("return {"), "line 1: it ends in the middle");
}

TEST(LuaTable, IsBoundedInDepth) {
  const auto nested = [](int depth) {
    const auto n = static_cast<size_t>(depth);
    return "return " + std::string(n, '{') + std::string(n, '}');
  };
  EXPECT_TRUE(ReadLuaTable(nested(kLuaDepthMax)).has_value());
  EXPECT_EQ(Read(nested(kLuaDepthMax + 1)), "line 1: too deep");
  EXPECT_EQ(Read(nested(1'000'000)), "line 1: too deep");
}

TEST(LuaTable, Lists) {
  const auto items = ReadLuaList("item({ 1; });\nitem(\"a\");\n");
  ASSERT_TRUE(items.has_value());
  ASSERT_EQ(items->size(), 2U);
  EXPECT_EQ(Told((*items)[0]), "{1.000000:1.000000 }");
  EXPECT_TRUE(ReadLuaList("").value().empty());
  EXPECT_EQ(ReadLuaList("item({}); return {}").error(), "line 1: no item(…)");
  EXPECT_EQ(ReadLuaList("item({").error(), "line 1: it ends in the middle");
}

}  // namespace
}  // namespace server
