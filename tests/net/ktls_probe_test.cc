#include "net/tls/ktls_probe.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace net {
namespace {

TEST(KtlsProbe, SaysWhatTheKernelSays) {
  KtlsSupport support = ProbeKtls();
  EXPECT_FALSE(support.detail.empty());
  // Where the kernel lists its upper layer protocols, both agree.
  std::ifstream file("/proc/sys/net/ipv4/tcp_available_ulp");
  std::stringstream listed;
  listed << file.rdbuf();
  if (listed.str().find("tls") != std::string::npos) {
    EXPECT_TRUE(support.available) << support.detail;
  }
}

}  // namespace
}  // namespace net
