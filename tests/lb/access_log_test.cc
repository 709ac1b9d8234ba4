// What the access log writes, and where to: files, syslog, the journal.
#include "lb/proxy/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string>

#include "net/io/socket.h"
#include "tests/test_folder.h"

namespace lb {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

AccessLogEntry SomeEntry() {
  return {.ended_ms = 1'769'860'800'123,  // 2026-01-31T12:00:00.123Z
          .listener = "c2s",
          .pool = "xmpp",
          .node = "n1",
          .client = net::Address::FromIp("192.0.2.1", 43210).value(),
          .duration_ms = 60ULL * 24 * 3600 * 1000,  // more than 32 bits of milliseconds
          .bytes_in = 7,
          .end = "client_closed",
          .tls = "TLSv1.3",
          .sni = "chat.example",
          .id = "1f-2a"};
}

// A log daemon on a datagram socket.
class AccessLogDaemon : public ::testing::Test {
 protected:
  void SetUp() override {
    name_ = net::SocketName::Unix(folder_ + "/log");
    Serve();
    sender_ = net::UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  }
  void Serve() {
    unlink((folder_ + "/log").c_str());
    daemon_ = net::UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(daemon_.get(), name_.get(), name_.size()), 0);
  }
  std::string Received() {
    std::array<char, 4096> text{};
    const ssize_t size = recv(daemon_.get(), text.data(), text.size(), MSG_DONTWAIT);
    return size < 0 ? "" : std::string(text.data(), static_cast<size_t>(size));
  }
  AccessLog Log(AccessLogSink sink) {
    return AccessLog(sender_.get(), {.sink = sink, .address = name_});
  }

  const net::TestFolder scratch_;
  const std::string folder_ = scratch_.path();
  net::SocketName name_;
  net::UniqueFd daemon_;
  net::UniqueFd sender_;
};

TEST_F(AccessLogDaemon, SyslogGetsOneDatagramALine) {
  AccessLog log = Log(AccessLogSink::kSyslogLocal);
  log.Write(SomeEntry());
  log.Write(SomeEntry());
  log.Flush(true);
  const std::string expected =
      "<134>mongooselb[" + std::to_string(getpid()) +
      "]: t=2026-01-31T12:00:00.123Z listener=c2s pool=xmpp node=n1 client=192.0.2.1:43210 "
      "queue_ms=0 connect_ms=0 duration_ms=5184000000 bytes_in=7 bytes_out=0 retries=0 "
      "end=client_closed error=- tls=TLSv1.3 sni=chat.example id=1f-2a";
  EXPECT_EQ(Received(), expected);
  EXPECT_EQ(Received(), expected);
  EXPECT_EQ(Received(), "");
  EXPECT_EQ(log.dropped(), 0U);
}

TEST_F(AccessLogDaemon, ANetworkSyslogGetsRfc5424) {
  AccessLog log = Log(AccessLogSink::kSyslogNetwork);
  log.Write(SomeEntry());
  log.Flush(true);
  EXPECT_THAT(Received(), StartsWith("<134>1 2026-01-31T12:00:00.123Z - mongooselb " +
                                     std::to_string(getpid()) + " access - t=2026"));
}

TEST_F(AccessLogDaemon, TheJournalGetsFields) {
  AccessLog log = Log(AccessLogSink::kJournal);
  log.Write(SomeEntry());
  log.Flush(true);
  const std::string entry = Received();
  EXPECT_THAT(entry, StartsWith("PRIORITY=6\nSYSLOG_IDENTIFIER=mongooselb\nMESSAGE=t=2026"));
  EXPECT_THAT(entry, HasSubstr("\nMONGOOSELB_NODE=n1\n"));
  EXPECT_THAT(entry, HasSubstr("\nMONGOOSELB_END=client_closed\n"));
  EXPECT_THAT(entry, HasSubstr("\nMONGOOSELB_SNI=chat.example\n"));
}

TEST_F(AccessLogDaemon, ADaemonThatWasRestartedIsFoundAgain) {
  AccessLog log = Log(AccessLogSink::kSyslogLocal);
  daemon_.Reset();
  log.Write(SomeEntry());
  log.Flush(true);
  EXPECT_EQ(log.dropped(), 1U);
  Serve();
  log.Write(SomeEntry());
  log.Flush(true);
  EXPECT_THAT(Received(), HasSubstr("node=n1"));
  EXPECT_EQ(log.dropped(), 1U);
}

// A pipe as a shell makes it, which would make a writer wait.
TEST(AccessLogTest, APipeThatNobodyReadsHoldsNobody) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const net::UniqueFd reader(ends[0]);
  const net::UniqueFd writer(ends[1]);
  AccessLog log(writer.get(), AccessLogFormat::kText);
  for (int i = 0; i < 2'000; ++i) {
    log.Write(SomeEntry());
    log.Flush(true);
  }
  EXPECT_GT(log.dropped(), 1'000U);
  EXPECT_LT(log.dropped(), 2'000U);
}

TEST(AccessLogTest, ProbesThatSayNothingNeedNoLine) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const net::UniqueFd reader(ends[0]);
  const net::UniqueFd writer(ends[1]);
  AccessLogEntry probe = SomeEntry();
  probe.probe = true;
  for (const bool silent : {true, false}) {
    AccessLog log(writer.get(), {.silent = silent});
    log.Write(probe);
    log.Flush(true);
    std::array<char, 1024> text{};
    EXPECT_EQ(read(reader.get(), text.data(), text.size()) > 0, silent);
    log.Write(SomeEntry());
    log.Flush(true);
    EXPECT_GT(read(reader.get(), text.data(), text.size()), 0);
  }
}

}  // namespace
}  // namespace lb
