// A balancer without its main(): a Control over a real ring, with one worker, in front of nodes
// that accept and say nothing.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lb/config/config.h"
#include "lb/control/control.h"
#include "tests/net/loopback.h"

namespace lb::test {

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("control_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    auto loop = net::EventLoop::Create({}, clock_);
    ASSERT_TRUE(loop.has_value()) << loop.error();
    loop_ = std::move(*loop);
    for (int i = 0; i < 2; ++i) nodes_.push_back(net::test::ListenLoopback());
    {
      net::UniqueFd free_port = net::test::ListenLoopback();
      listen_ = net::test::BoundAddress(free_port.get());
    }
    WriteConfig("");
    control_.emplace(*loop_, config_path(), Resolver());
    auto config = LoadConfig(config_path());
    ASSERT_TRUE(config.has_value()) << config.error().front().ToString();
    auto started = control_->Start(std::move(*config), nullptr);
    ASSERT_TRUE(started.has_value()) << started.error().front().ToString();
    Turn();
  }

  void TearDown() override {
    held_.clear();
    control_.reset();
    EXPECT_TRUE(loop_->Drain(std::chrono::seconds(5)));
    std::filesystem::remove_all(folder_);
  }

  // How host names are looked up; null: as the system does.
  virtual net::NameLookup::Resolver Resolver() { return nullptr; }

  std::string config_path() const { return folder_ / "lb.toml"; }

  // `pool_extra` lines go into [pool.xmpp], `more` behind all.
  void WriteConfig(const std::string& pool_extra, const std::string& more = "") {
    std::ofstream file(config_path());
    file << "[process]\nworkers = 1\nconnections_max = 1000\n[listener.c2s]\nbind = \"127.0.0.1:"
         << ntohs(listen_.sin_port) << "\"\npool = \"xmpp\"\n"
         << "[pool.xmpp]\nbalance = \"roundrobin\"\n"
         << pool_extra << "\n[pool.xmpp.warmup]\nmode = \"off\"\n";
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (left_out_.contains(i)) continue;
      file << "[[pool.xmpp.node]]\nname = \"n" << i + 1 << "\"\naddress = \"127.0.0.1:"
           << ntohs(net::test::BoundAddress(nodes_[i].get()).sin_port) << "\"\n";
    }
    file << more;
  }

  // Opens connections through the balancer, and waits until their nodes have them.
  void Hold(size_t count) {
    const uint64_t before = Active();
    for (size_t i = 0; i < count; ++i) held_.push_back(net::test::Dial(listen_));
    ASSERT_TRUE(net::test::RunUntil(*loop_, [&] { return Active() == before + count; }));
  }

  uint64_t Active() const {
    uint64_t active = 0;
    for (const PoolView& pool : control_->Pools()) {
      for (const NodeView& node : pool.nodes) active += node.active;
    }
    return active;
  }

  NodeView NodeNamed(const std::string& name) const {
    for (const PoolView& pool : control_->Pools()) {
      for (const NodeView& node : pool.nodes) {
        if (node.name == name) return node;
      }
    }
    ADD_FAILURE() << "no node " << name;
    return {};
  }

  void Turn() { loop_->RunOnce(std::chrono::milliseconds(1)); }

  net::SystemClock clock_;
  std::filesystem::path folder_;
  std::unique_ptr<net::EventLoop> loop_;
  std::vector<net::UniqueFd> nodes_;
  std::set<size_t> left_out_;  // of nodes_: not in the file
  sockaddr_in listen_{};
  std::optional<Control> control_;
  std::vector<net::UniqueFd> held_;
};

}  // namespace lb::test
