#include "server/config/vm_args.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "server/config/full_name.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Files = std::map<std::string, std::string>;

VmArgsResult Read(const Files& files, std::vector<std::string> paths = {"etc/vm.args"}) {
  return ReadVmArgs(paths, [&files](const std::string& path) -> std::optional<std::string> {
    const auto it = files.find(path);
    if (it == files.end()) return std::nullopt;
    return it->second;
  });
}

constexpr std::string_view kGood = "-sname mongooseim@localhost\n-setcookie ejabberd\n";

std::vector<std::string> Errors(const std::string& more) {
  std::vector<std::string> out;
  for (const net::ConfigError& error : Read({{"etc/vm.args", std::string(kGood) + more}}).errors) {
    out.push_back(error.ToString());
  }
  return out;
}

TEST(VmArgs, ThePagesLinesAreRead) {
  const auto [args, errors] =
      Read({{"etc/vm.args",
             "## Name\n-sname mongooseim@localhost\n\n-setcookie ejabberd\n"
             "-kernel inet_dist_listen_min 50000 inet_dist_listen_max 50010\n"
             "-env ERL_MAX_PORTS 350000 # for TLS\n+P 10000000\n"
             "-kernel net_ticktime 30\n"}});
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(args.name, "mongooseim@localhost");
  EXPECT_FALSE(args.long_names);
  EXPECT_EQ(args.cookie, "ejabberd");
  EXPECT_EQ(args.listen_min, 50000);
  EXPECT_EQ(args.listen_max, 50010);
  EXPECT_EQ(args.processes_max, 10'000'000U);
  EXPECT_EQ(args.net_ticktime_s, 30U);
  EXPECT_EQ(MaxPortsOf(args, nullptr)->value, 350'000U);
  EXPECT_EQ(MaxPortsOf(args, "2048")->value, 2048U) << "the environment wins";
}

TEST(VmArgs, RealInstallationsFilesAreRead) {
  const auto [args, errors] = Read(
      {{"etc/vm.args",
        "-name mongooseim@node1.example.com -setcookie a\\#b\n+K true\n+A64\n+Bd\n+sbwt "
        "none\n-heart\n"
        "-env ERL_FULLSWEEP_AFTER 2\n-sasl sasl_error_logger false\n"},
       {"etc/vm.dist.args",
        "-kernel inet_dist_listen_min 9100\n-kernel inet_dist_listen_max 9100\n-start_epmd false\n"
        "-epmd_module mongoose_epmd\n-proto_dist inet_tls -ssl_dist_opt server_certfile a.pem \\\n"
        " server_keyfile b.pem\n-kernel inet_dist_use_interface \"{127,0,0,1}\"\n"}},
      {"etc/vm.args", "etc/vm.dist.args"});
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_TRUE(args.long_names);
  EXPECT_EQ(args.cookie, "a#b");
  EXPECT_EQ(args.listen_min, 9100);
  EXPECT_FALSE(args.start_epmd);
  EXPECT_EQ(args.proto, ProtoDist::kTls);
  EXPECT_EQ(args.ssl_dist_opt.size(), 2U);
  EXPECT_EQ(args.interface, "127.0.0.1");
  EXPECT_THAT(args.unused,
              ElementsAre("+K (etc/vm.args:2)", "+A64 (etc/vm.args:3)", "+Bd (etc/vm.args:4)",
                          "+sbwt (etc/vm.args:5)", "-heart (etc/vm.args:6)",
                          "-sasl (etc/vm.args:8)", "-epmd_module (etc/vm.dist.args:4)"));
}

TEST(VmArgs, AFileInAFileIsReadFromWhereItStandsAndACircleIsAnError) {
  const Files nested = {{"etc/vm.args", "-args_file more.args\n"},
                        {"etc/more.args", std::string(kGood)}};
  EXPECT_THAT(Read(nested).errors, IsEmpty());
  EXPECT_EQ(Read(nested).args.cookie_at, "etc/more.args:2");
  const auto circle = Read({{"etc/vm.args", std::string(kGood) + "-args_file vm.args"}});
  ASSERT_EQ(circle.errors.size(), 1U);
  EXPECT_THAT(circle.errors[0].ToString(), HasSubstr("does a file name itself?"));
  EXPECT_THAT(Errors("-args_file gone"),
              ElementsAre(HasSubstr("etc/vm.args:3: -args_file: cannot read 'etc/gone'")));
}

TEST(VmArgs, EveryMistakeHasFileLineAndRemedy) {
  EXPECT_THAT(Errors("-snmae x"), ElementsAre("etc/vm.args:3: -snmae: is no flag of Erlang's; did "
                                              "you mean -sname?"));
  EXPECT_THAT(
      Errors("-env ERL_MAX_PORTS many"),
      ElementsAre("etc/vm.args:3: -env ERL_MAX_PORTS: is 'many'; write a number from 1024 to "
                  "134217727"));
  EXPECT_THAT(Errors("-kernel inet_dist_listen_min 50010 inet_dist_listen_max 50000"),
              ElementsAre("etc/vm.args:3: -kernel inet_dist_listen_min: is 50010, above "
                          "inet_dist_listen_max, 50000; turn them round"));
  EXPECT_THAT(Errors("-kernel inet_dist_listen_max 50000"), ElementsAre(HasSubstr("write both")));
  EXPECT_THAT(Errors("-kernel inet_dist_listen_min"), ElementsAre(HasSubstr("needs pairs")));
  EXPECT_THAT(Errors("-name other@host"),
              ElementsAre(HasSubstr("has a name already, at etc/vm.args:1")));
  EXPECT_THAT(Errors("-proto_dist tls"), ElementsAre(HasSubstr("write inet_tcp, inet6_tcp")));
  EXPECT_THAT(Errors("\n\n+Q"), ElementsAre(HasSubstr("etc/vm.args:5: +Q: has no value")));
  EXPECT_THAT(Errors("-hidden yes -start_epmd no").size(), 2U) << "all of them";
}

TEST(VmArgs, WhatIsMissingIsSaidInUpstreamsWordsAndTheCookieNever) {
  const auto empty = Read({{"etc/vm.args", "foo\n"}});
  ASSERT_EQ(empty.errors.size(), 3U);
  EXPECT_EQ(empty.errors[0].what, "'foo' belongs to no flag");
  EXPECT_EQ(empty.errors[1].what, kNoName);
  EXPECT_EQ(empty.errors[2].what, kNoCookie);
  for (const std::string& error : Errors("-setcookie other")) {
    EXPECT_THAT(error, ::testing::Not(HasSubstr("ejabberd")));
    EXPECT_THAT(error, ::testing::Not(HasSubstr("'other'")));
    EXPECT_THAT(error, HasSubstr("another cookie stands at etc/vm.args:2"));
  }
}

TEST(VmArgs, TheEnvironmentsMaxPortsAreJudgedToo) {
  EXPECT_THAT(MaxPortsOf({}, "lots").error().ToString(), HasSubstr("ERL_MAX_PORTS"));
  EXPECT_EQ(MaxPortsOf({}, nullptr)->value, 65'536U);
}

TEST(FullNodeName, ABareNameGetsTheHostOfItsKind) {
  const HostNames host{"node1", "node1.example.com"};
  EXPECT_EQ(FullNodeName({.name = "m"}, host).value(), "m@node1");
  EXPECT_EQ(FullNodeName({.name = "m", .long_names = true}, host).value(), "m@node1.example.com");
  EXPECT_EQ(FullNodeName({.name = "m@x"}, host).value(), "m@x");
  EXPECT_THAT(FullNodeName({.name = "m", .long_names = true}, {"node1", "node1"}).error(),
              HasSubstr("has no domain"));
  EXPECT_THAT(FullNodeName({.name = "m@a.b"}, host).error(), HasSubstr("take -name"));
  EXPECT_THAT(FullNodeName({.name = "m"}, {"", ""}).error(), HasSubstr("write the host"));
}

}  // namespace
}  // namespace server
