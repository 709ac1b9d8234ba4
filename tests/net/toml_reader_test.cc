#include "net/config/toml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/test_folder.h"

namespace net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Messages(TomlReader& reader) {
  std::vector<std::string> out;
  for (const ConfigError& error : reader.Finish()) out.push_back(error.ToString());
  return out;
}

TEST(TomlReader, ReadsEveryTypeOfAGoodFile) {
  TomlReader reader = TomlReader::FromString(R"(
name = "edge"
one = "a"
many = ["b", "c"]
on = true
count = 0x10
share = 0.25
whole_share = 1
wait = "1.5s"
none = "0"
zero = 0
long = "2d"
room = "64KiB"
exact = 4096
text = "4096"
rate = "120/m"
no_rate = "0"
mode = "0640"
toml_mode = 0o600
)",
                                             "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.String("name"), "edge");
  EXPECT_EQ(root.RequiredString("name"), "edge");
  EXPECT_THAT(root.Strings("one", 100), ElementsAre("a"));
  EXPECT_THAT(root.Strings("many", 100), ElementsAre("b", "c"));
  EXPECT_TRUE(root.Bool("on", false));
  EXPECT_EQ(root.Int("count", 1), 16);
  EXPECT_DOUBLE_EQ(root.Float("share", 0, 0, 1), 0.25);
  EXPECT_DOUBLE_EQ(root.Float("whole_share", 0, 0, 1), 1.0);
  EXPECT_EQ(root.Time("wait", {}, {}, hours(1)), milliseconds(1500));
  EXPECT_EQ(root.Time("none", seconds(9), {}, hours(1)), seconds(0));
  EXPECT_EQ(root.Time("zero", seconds(9), {}, hours(1)), seconds(0));
  EXPECT_EQ(root.Time("long", {}, {}, hours(100)), hours(48));
  EXPECT_EQ(root.Bytes("room", 0), 65536);
  EXPECT_EQ(root.Bytes("exact", 0), 4096);
  EXPECT_EQ(root.Bytes("text", 0), 4096);
  EXPECT_DOUBLE_EQ(root.Rate("rate", 0, 1e6), 2.0);
  EXPECT_DOUBLE_EQ(root.Rate("no_rate", 7, 1e6), 0.0);
  EXPECT_EQ(root.FileMode("mode", 0), 0640U);
  EXPECT_EQ(root.FileMode("toml_mode", 0), 0600U);
  EXPECT_THAT(Messages(reader), IsEmpty());
}

TEST(TomlReader, AbsentKeysGiveTheirDefaults) {
  TomlReader reader = TomlReader::FromString("", "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.String("a", "d"), "d");
  EXPECT_THAT(root.Strings("b", 100), IsEmpty());
  EXPECT_TRUE(root.Bool("c", true));
  EXPECT_EQ(root.Int("d", 5, {.min = 6}), 5);
  EXPECT_EQ(root.Time("e", minutes(3), {}, {}), minutes(3));
  EXPECT_EQ(root.Bytes("f", 7), 7);
  EXPECT_DOUBLE_EQ(root.Rate("g", 2.5, 1), 2.5);
  EXPECT_EQ(root.FileMode("h", 0700), 0700U);
  EXPECT_FALSE(root.Has("i"));
  EXPECT_FALSE(root.Section("j").present());
  EXPECT_EQ(root.Section("j").RequiredString("k"), "");  // absent sections require nothing
  EXPECT_EQ(root.Section("j").path(), "j");
  EXPECT_THAT(Messages(reader), IsEmpty());
}

TEST(TomlReader, ADefaultSectionStandsNowhere) {
  TomlSection section;
  EXPECT_FALSE(section.present());
  EXPECT_EQ(section.Int("x", 3), 3);
  EXPECT_FALSE(section.Section("y").present());
  EXPECT_THAT(section.Sections("z", 100), IsEmpty());
  section.Error("x", "is ignored");
}

TEST(TomlReader, UnknownKeysNameTheNearestKnownOne) {
  TomlReader reader = TomlReader::FromString(R"([listener.c2s]
bind = "0.0.0.0:5222"
poool = "xmpp"
idle-timeout = "5s"
)",
                                             "mongooselb.toml");
  for (auto& [name, section] : reader.root().NamedSections("listener", 100)) {
    section.String("bind");
    section.String("pool");
    section.String("idle_timeout");
  }
  EXPECT_THAT(
      Messages(reader),
      ElementsAre("mongooselb.toml:3: listener.c2s.poool: unknown key; did you mean 'pool'?",
                  "mongooselb.toml:4: listener.c2s.idle-timeout: unknown key; did you mean "
                  "'idle_timeout'?"));
}

TEST(TomlReader, AMistypedSectionIsNamedOnceAndNotItsKeys) {
  TomlReader reader = TomlReader::FromString("[proces]\nworkers = 1\n", "t.toml");
  reader.root().Section("process").Int("workers", 0);
  reader.root().Section("log");
  EXPECT_THAT(Messages(reader),
              ElementsAre("t.toml:1: proces: unknown section; did you mean 'process'?"));
}

TEST(TomlReader, AKeyInTheWrongSectionIsToldWhereItBelongs) {
  TomlReader reader = TomlReader::FromString("[a]\nretries = 1\n[b]\nx = 1\n", "t.toml");
  reader.root().Section("a").Int("port", 0);
  reader.root().Section("b").Int("retries", 0);
  reader.root().Section("b").Int("x", 0);
  EXPECT_THAT(Messages(reader), ElementsAre("t.toml:2: a.retries: unknown key; it belongs in [b]"));
}

TEST(TomlReader, AKeyThatResemblesNothingGetsTheListOfKnownOnes) {
  TomlReader reader = TomlReader::FromString("[a]\nwhatever = 1\n", "t.toml");
  reader.root().Section("a").Int("port", 0);
  reader.root().Section("a").Int("host", 0);
  EXPECT_THAT(Messages(reader),
              ElementsAre("t.toml:2: a.whatever: unknown key; known here: host, port"));
}

TEST(TomlReader, WrongTypesAreNamedInPeoplesWords) {
  TomlReader reader = TomlReader::FromString(R"(a = "5"
b = 5
c = 1.5
d = "true"
e = [1]
f = 2026-01-01
g = { x = 1 }
h = ["x", 2]
i = "x\u0000y"
)",
                                             "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.Int("a", 7), 7);
  EXPECT_EQ(root.String("b", "d"), "d");
  EXPECT_EQ(root.Int("c", 7), 7);
  EXPECT_FALSE(root.Bool("d", false));
  EXPECT_EQ(root.String("e"), "");
  EXPECT_EQ(root.Float("f", 1, 0, 2), 1);
  EXPECT_EQ(root.Int("g", 2), 2);
  EXPECT_THAT(root.Strings("h", 100), ElementsAre("x"));
  EXPECT_EQ(root.String("i", "d"), "d");
  EXPECT_THAT(
      Messages(reader),
      ElementsAre(
          "t.toml:1: a: is a string, but a whole number is expected; write it without quotes",
          "t.toml:2: b: is a whole number, but a string is expected; write it in quotes",
          "t.toml:3: c: is a decimal number, but a whole number is expected",
          "t.toml:4: d: is a string, but true or false is expected; write true or false, without "
          "quotes",
          "t.toml:5: e: is a list, but a string is expected",
          "t.toml:6: f: is a date, but a number is expected",
          "t.toml:7: g: is a section, but a whole number is expected",
          "t.toml:8: h: holds a whole number, but a list of strings is expected; write each item "
          "in quotes",
          "t.toml:9: i: holds a NUL character; remove it"));
}

TEST(TomlReader, ValuesOutOfRangeNameTheLimits) {
  TomlReader reader = TomlReader::FromString(R"(a = 70000
b = "1h"
c = "2GiB"
d = "5000/s"
e = 1.5
f = -1
g = inf
)",
                                             "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.Int("a", 1, {.min = 1, .max = 65535}), 1);
  EXPECT_EQ(root.Time("b", seconds(5), seconds(1), minutes(10)), seconds(5));
  EXPECT_EQ(root.Bytes("c", 4096, {.min = 1024, .max = 1 << 30}), 4096);
  EXPECT_EQ(root.Rate("d", 10, 1000), 10);
  EXPECT_EQ(root.Float("e", 0.5, 0, 1), 0.5);
  EXPECT_EQ(root.Int("f", 0, {.min = 0, .max = 9}), 0);
  EXPECT_EQ(root.Float("g", 0.5, 0, 1), 0.5);
  EXPECT_THAT(
      Messages(reader),
      ElementsAre(
          "t.toml:1: a: is 70000, which is above the largest allowed, 65535; set it between 1 and "
          "65535",
          "t.toml:2: b: is 1h, which is above the largest allowed, 10m; set it between 1s and 10m",
          "t.toml:3: c: is 2GiB, which is above the largest allowed, 1GiB; set it between 1KiB "
          "and 1GiB",
          "t.toml:4: d: is 5000/s, which is above the largest allowed, 1000/s; set it between "
          "0/s and 1000/s",
          "t.toml:5: e: is 1.5, which is above the largest allowed, 1; set it between 0 and 1",
          "t.toml:6: f: is -1, which is below the smallest allowed, 0; set it between 0 and 9",
          "t.toml:7: g: is not a finite number; set it between 0 and 1"));
}

TEST(TomlReader, ATimeWithoutAUnitNamesTheUnits) {
  TomlReader reader = TomlReader::FromString(
      "a = 5\nb = \"5\"\nc = \"5 s\"\nd = \"s\"\ne = \"-5s\"\nf = \"9999999999999d\"\n", "t.toml");
  for (auto key : {"a", "b", "c", "d", "e", "f"}) {
    EXPECT_EQ(reader.root().Time(key, seconds(3), {}, hours(1)), seconds(3)) << key;
  }
  auto errors = reader.Finish();
  ASSERT_EQ(errors.size(), 6U);
  EXPECT_EQ(errors[0].what, "is 5 without a unit of time");
  EXPECT_EQ(errors[1].what, "is '5', which is not a length of time");
  for (const auto& error : errors) EXPECT_THAT(error.remedy, HasSubstr("ns, us, ms, s, m, h, d"));
}

TEST(TomlReader, BadBytesRatesAndModesSayHowToWriteThem) {
  TomlReader reader = TomlReader::FromString(
      "a = \"64kb\"\nb = \"200\"\nc = \"1/y\"\nd = 600\ne = \"0999\"\nf = \"7777\"\n", "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.Bytes("a", 1), 1);
  EXPECT_EQ(root.Rate("b", 1, 1e6), 1);
  EXPECT_EQ(root.Rate("c", 1, 1e6), 1);
  EXPECT_EQ(root.FileMode("d", 1), 1U);
  EXPECT_EQ(root.FileMode("e", 1), 1U);
  EXPECT_EQ(root.FileMode("f", 1), 1U);
  auto errors = Messages(reader);
  ASSERT_EQ(errors.size(), 6U);
  EXPECT_THAT(errors[0], HasSubstr("is '64kb', which is not a number of bytes"));
  EXPECT_THAT(errors[1], HasSubstr("is '200', which is not a rate; write a number by a unit"));
  EXPECT_THAT(errors[2], HasSubstr("is '1/y', which is not a rate"));
  EXPECT_THAT(errors[3], HasSubstr("is a whole number, but a file mode is expected; write an "
                                   "octal mode in quotes, as in \"0600\""));
  EXPECT_THAT(errors[4], HasSubstr("is '0999', which is not a file mode"));
  EXPECT_THAT(errors[5], HasSubstr("is '7777', which is not a file mode"));
}

enum class Mode { kA, kB };

TEST(TomlReader, EnumsListTheNamesTheyKnow) {
  TomlReader reader = TomlReader::FromString("a = \"leastcon\"\nb = \"random\"\n", "t.toml");
  std::vector<std::pair<std::string_view, Mode>> names = {{"leastconn", Mode::kA},
                                                          {"random", Mode::kB}};
  EXPECT_EQ(reader.root().Enum("a", Mode::kA, names), Mode::kA);
  EXPECT_EQ(reader.root().Enum("b", Mode::kA, names), Mode::kB);
  EXPECT_THAT(Messages(reader),
              ElementsAre("t.toml:1: a: is 'leastcon', which is not known; did you mean "
                          "'leastconn'? use one of: leastconn, random"));
}

TEST(TomlReader, NamedSectionsKeepTheOrderOfTheFile) {
  TomlReader reader =
      TomlReader::FromString("[pool.z]\n[pool.a]\n[[pool.m.node]]\nname = \"x\"\n", "t.toml");
  std::vector<std::string> names;
  for (auto& [name, section] : reader.root().NamedSections("pool", 100)) {
    names.push_back(name + ":" + std::to_string(section.line()));
    for (auto& node : section.Sections("node", 100)) {
      EXPECT_EQ(node.path(), "pool.m.node[1]");
      node.String("name");
    }
  }
  EXPECT_THAT(names, ElementsAre("z:1", "a:2", "m:3"));
  EXPECT_THAT(Messages(reader), IsEmpty());
}

TEST(TomlReader, SingleAndDoubleBracketsAreNotMixedUp) {
  TomlReader reader = TomlReader::FromString(R"([pool.x.node]
name = "a"
[[process]]
workers = 1
[listener]
c2s = 5
)",
                                             "t.toml");
  TomlSection root = reader.root();
  for (auto& [name, section] : root.NamedSections("pool", 100)) {
    EXPECT_THAT(section.Sections("node", 100), IsEmpty());
  }
  EXPECT_FALSE(root.Section("process").present());
  EXPECT_THAT(root.NamedSections("listener", 100), IsEmpty());
  EXPECT_THAT(
      Messages(reader),
      ElementsAre("t.toml:1: pool.x.node: is a section, but a list of sections is expected; write "
                  "each as [[pool.x.node]]",
                  "t.toml:3: process: is a list, but a section is expected; write it once, as "
                  "[process]",
                  "t.toml:6: listener.c2s: is a whole number, but a section is expected; write it "
                  "as [listener.c2s]"));
}

TEST(TomlReader, MistakesInsideListsOfSectionsNameTheItem) {
  TomlReader reader = TomlReader::FromString(
      "[[node]]\nweight = 1\n[[node]]\nweight = 9999\n[[node]]\nwieght = 1\n", "t.toml");
  for (auto& node : reader.root().Sections("node", 100)) {
    node.Int("weight", 100, {.min = 0, .max = 1000});
  }
  EXPECT_THAT(Messages(reader),
              ElementsAre("t.toml:4: node[2].weight: is 9999, which is above the largest allowed, "
                          "1000; set it between 0 and 1000",
                          "t.toml:6: node[3].wieght: unknown key; did you mean 'weight'?"));
}

TEST(TomlReader, CallersErrorsStandAtTheirKeyOrSection) {
  TomlReader reader = TomlReader::FromString("\n[a]\nx = 1\n", "t.toml");
  TomlSection a = reader.root().Section("a");
  a.Int("x", 0);
  EXPECT_EQ(a.LineOf("x"), 3);
  EXPECT_EQ(a.LineOf("absent"), 2);
  a.Error("x", "is odd", "make it even");
  a.Error("", "is incomplete");
  a.Error("x", "is odd", "make it even");
  auto errors = reader.Finish();
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0].ToString(), "t.toml:2: a: is incomplete");
  EXPECT_EQ(errors[1].ToString(), "t.toml:3: a.x: is odd; make it even");
  EXPECT_EQ(errors[1].column, 1);
}

TEST(TomlReader, MissingAndEmptyRequiredKeysAreErrors) {
  TomlReader reader = TomlReader::FromString("[a]\ny = \"\"\n", "t.toml");
  reader.root().Section("a").RequiredString("x");
  reader.root().Section("a").RequiredString("y");
  EXPECT_THAT(Messages(reader),
              ElementsAre("t.toml:1: a.x: is required, but missing; add x = \"...\"",
                          "t.toml:2: a.y: is required, but empty"));
}

TEST(TomlReader, ASyntaxErrorHasItsLineAndLeavesTheRootEmpty) {
  TomlReader reader = TomlReader::FromString("a = 1\nb = = 2\n", "t.toml");
  EXPECT_FALSE(reader.readable());
  EXPECT_FALSE(reader.root().Has("a"));
  auto errors = reader.Finish();
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0].line, 2);
  EXPECT_THAT(errors[0].ToString(), HasSubstr("t.toml:2: not TOML: "));
}

TEST(TomlReader, WhatIsMissingInAFileThatIsNoTomlIsNotTold) {
  TomlReader reader = TomlReader::FromString("a = 1\nb = = 2\n", "t.toml");
  reader.root().Section("a").RequiredString("x");
  reader.root().Error("", "has no a");
  EXPECT_THAT(Messages(reader), ElementsAre(HasSubstr("t.toml:2: not TOML: ")));
}

TEST(TomlReader, ADuplicateKeyIsASyntaxError) {
  TomlReader reader = TomlReader::FromString("a = 1\na = 2\n", "t.toml");
  auto errors = reader.Finish();
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0].line, 2);
}

TEST(TomlReader, ControlCharactersNeverReachTheMessage) {
  TomlReader reader = TomlReader::FromString("a = \"\\u001b[31m\"\n\"b\\nc\" = 1\n", "t.toml");
  reader.root().Time("a", {}, {}, seconds(1));
  auto errors = Messages(reader);
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_THAT(errors[0], HasSubstr("'\\x1b[31m'"));
  EXPECT_THAT(errors[1], HasSubstr("'b\\nc'"));
}

class TomlFileTest : public ::testing::Test {
 protected:
  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
};

TEST_F(TomlFileTest, ReadsAFileAndNamesItInErrors) {
  std::string path = folder_ + "/a.toml";
  std::ofstream(path) << "x = \"1\"\n";
  TomlReader reader = TomlReader::FromFile(path);
  EXPECT_TRUE(reader.readable());
  reader.root().Int("x", 0);
  auto errors = Messages(reader);
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_THAT(errors[0], HasSubstr(path + ":1: x: is a string"));
}

TEST_F(TomlFileTest, AMissingFileIsAnError) {
  TomlReader reader = TomlReader::FromFile(folder_ + "/none.toml");
  EXPECT_FALSE(reader.readable());
  EXPECT_THAT(Messages(reader),
              ElementsAre(folder_ + "/none.toml: cannot be opened: No such file or directory; "
                                    "check the path and its permissions"));
}

TEST_F(TomlFileTest, AFolderIsAnError) {
  TomlReader reader = TomlReader::FromFile(folder_);
  auto errors = Messages(reader);
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_THAT(errors[0], HasSubstr("check that it is a file, not a folder"));
}

TEST_F(TomlFileTest, AHugeFileIsRefused) {
  std::string path = folder_ + "/huge.toml";
  std::ofstream(path) << std::string(5 << 20, '\n');
  TomlReader reader = TomlReader::FromFile(path);
  EXPECT_THAT(Messages(reader), ElementsAre(path + ": is above the largest size allowed, 4MiB; "
                                                   "check that it is the configuration"));
}

TEST_F(TomlFileTest, IncludesTheFilesOfAFolderInTheOrderOfTheirNames) {
  std::filesystem::create_directory(folder_ + "/conf.d");
  std::ofstream(folder_ + "/a.toml") << "include = \"conf.d\"\n[pool.main]\nx = 1\n";
  std::ofstream(folder_ + "/conf.d/20.toml") << "[pool.second]\nx = 2\n";
  std::ofstream(folder_ + "/conf.d/10.toml") << "[pool.first]\nx = \"one\"\n[pool.main]\ny = 7\n";
  std::ofstream(folder_ + "/conf.d/.#10.toml") << "not toml";
  std::ofstream(folder_ + "/conf.d/README") << "not toml";
  TomlReader reader = TomlReader::FromFile(folder_ + "/a.toml");
  std::vector<std::string> names;
  for (auto& [name, section] : reader.root().NamedSections("pool", 100)) {
    names.push_back(name);
    section.Int("x", 0);
    if (name == "main") {
      EXPECT_EQ(section.Int("y", 0), 7);
    }
    if (name == "second") {
      EXPECT_EQ(section.FileOf("x"), folder_ + "/conf.d/20.toml");
      EXPECT_EQ(section.LineOf("x"), 2);
    }
  }
  EXPECT_THAT(names, ElementsAre("main", "first", "second"));
  EXPECT_THAT(Messages(reader), ElementsAre(HasSubstr("/conf.d/10.toml:2: pool.first.x: is a s")));
}

TEST_F(TomlFileTest, MistakesOfSeveralFilesAreToldAtOnce) {
  std::filesystem::create_directory(folder_ + "/conf.d");
  std::ofstream(folder_ + "/a.toml") << "x = 1\ninclude = \"conf.d\"\n";
  std::ofstream(folder_ + "/conf.d/1.toml") << "y = \n";
  std::ofstream(folder_ + "/conf.d/2.toml") << "\nx = 2\ninclude = \"more\"\nz = 1\n";
  TomlReader reader = TomlReader::FromFile(folder_ + "/a.toml");
  EXPECT_TRUE(reader.readable());
  reader.root().Int("x", 0);
  EXPECT_THAT(Messages(reader),
              ElementsAre(HasSubstr("/conf.d/1.toml:1: not TOML"),
                          folder_ + "/conf.d/2.toml:2: x: stands already in " + folder_ +
                              "/a.toml:1; remove one",
                          HasSubstr("/conf.d/2.toml:3: include: stands in a file that is included"),
                          HasSubstr("/conf.d/2.toml:4: z: unknown key")));
}

TEST_F(TomlFileTest, AFolderThatIsNotThereIsAMistake) {
  std::ofstream(folder_ + "/a.toml") << "include = \"conf.d\"\n";
  TomlReader reader = TomlReader::FromFile(folder_ + "/a.toml");
  EXPECT_THAT(Messages(reader), ElementsAre(HasSubstr("a.toml:1: include: names the folder")));
}

TEST(TomlReader, EveryListHasABoundAndNothingBeyondItComesOut) {
  TomlReader reader = TomlReader::FromString(
      "s = [\"a\", \"b\", \"c\"]\n[[t]]\n[[t]]\n[[t]]\n[n.x]\n[n.y]\n[n.z]\n", "t.toml");
  TomlSection root = reader.root();
  EXPECT_THAT(root.Strings("s", 2), ElementsAre("a", "b"));
  EXPECT_EQ(root.Sections("t", 2).size(), 2U);
  EXPECT_EQ(root.NamedSections("n", 2).size(), 2U);
  constexpr const char* kTooMany =
      "has 3 entries, which is above the largest allowed, 2; remove some";
  EXPECT_THAT(Messages(reader),
              ElementsAre(HasSubstr(kTooMany), HasSubstr(kTooMany), HasSubstr(kTooMany)));
}

TEST(TomlReader, StringsMayNameEnvironmentVariables) {
  setenv("TOML_TEST_HOST", "xmpp.example.org", 1);
  setenv("TOML_TEST_TIME", "7s", 1);
  unsetenv("TOML_TEST_NONE");
  TomlReader reader = TomlReader::FromString(
      "a = \"${TOML_TEST_HOST}:5222\"\nb = [\"${TOML_TEST_NONE:-x}\", \"$${PLAIN} $$\"]\n"
      "t = \"${TOML_TEST_TIME}\"\nnone = \"${TOML_TEST_NONE}\"\nopen = \"${A\"\n"
      "wrong = \"${1}\"\nempty = \"${TOML_TEST_NONE:-}\"\n",
      "t.toml");
  TomlSection root = reader.root();
  EXPECT_EQ(root.String("a"), "xmpp.example.org:5222");
  EXPECT_THAT(root.Strings("b", 2), ElementsAre("x", "${PLAIN} $$"));
  EXPECT_EQ(root.Time("t", {}, {}, seconds(60)), seconds(7));
  EXPECT_EQ(root.String("none", "fallback"), "fallback");
  EXPECT_EQ(root.String("open"), "");
  EXPECT_EQ(root.String("wrong"), "");
  EXPECT_EQ(root.String("empty", "x"), "");
  EXPECT_THAT(
      Messages(reader),
      ElementsAre("t.toml:4: none: names the environment variable TOML_TEST_NONE, which is not "
                  "set; set it for the program, or write ${TOML_TEST_NONE:-default}",
                  HasSubstr("t.toml:5: open: holds ${ without a }"),
                  HasSubstr("t.toml:6: wrong: holds '${1}', which names no variable")));
}

TEST(Nearest, FindsSmallMistakesAndNothingElse) {
  std::vector<std::string_view> known = {"workers", "weight", "x", "connections_max"};
  EXPECT_EQ(Nearest("wokers", known), "workers");
  EXPECT_EQ(Nearest("wieght", known), "weight");
  EXPECT_EQ(Nearest("connection_max", known), "connections_max");
  EXPECT_EQ(Nearest("banana", known), "");
  EXPECT_EQ(Nearest("y", known), "");
  EXPECT_EQ(Nearest("", known), "");
  EXPECT_EQ(Nearest(std::string(100'000, 'a'), known), "");
}

}  // namespace
}  // namespace net
