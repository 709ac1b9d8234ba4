// A loop of a test that asks a store and waits for its answers.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/base/check.h"
#include "net/io/event_loop.h"
#include "server/store/backend.h"
#include "server/store/store.h"

namespace server::test {

class StoreLoop {
 public:
  StoreLoop() {
    auto loop = net::EventLoop::Create({}, clock_);
    CHECK(loop.has_value());
    loop_ = std::move(*loop);
  }

  net::EventLoop& loop() { return *loop_; }

  template <typename Condition>
  [[nodiscard]] bool RunUntil(Condition&& condition,
                              std::chrono::seconds limit = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop_->RunOnce(std::chrono::milliseconds(20));
    }
    return true;
  }

  template <typename T>
  using Result = std::expected<T, StoreError>;

  // `ask` gets a Done<T>; its answer is returned.
  template <typename T, typename Ask>
  Result<T> Get(Ask&& ask) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    ask(StoreClient::Done<T>([answer](Result<T> result) { *answer = std::move(result); }));
    EXPECT_FALSE(answer->has_value()) << "answered within the call";
    if (!RunUntil([&] { return answer->has_value(); })) {
      ADD_FAILURE() << "no answer";
      return std::unexpected(StoreError::kUnknown);
    }
    return std::move(**answer);
  }

  Result<std::monostate> Write(StoreClient& client, WriteBatch batch) {
    return Get<std::monostate>([&](auto done) { client.Write(std::move(batch), std::move(done)); });
  }
  LoadedUser Load(StoreClient& client, const std::string& user) {
    return Value(Get<LoadedUser>([&](auto done) { client.Load(user, std::move(done)); }));
  }
  ArchivePage Archive(StoreClient& client, ArchiveQuery query) {
    return Value(
        Get<ArchivePage>([&](auto done) { client.Archive(std::move(query), std::move(done)); }));
  }
  OfflinePage Offline(StoreClient& client, const std::string& user, uint64_t after = 0,
                      uint32_t most = 100) {
    return Value(Get<OfflinePage>(
        [&](auto done) { client.Offline(user, after, most, std::move(done)); }));
  }
  std::string Vcard(StoreClient& client, const std::string& user) {
    return Value(Get<std::string>([&](auto done) { client.Vcard(user, std::move(done)); }));
  }
  Retired Retire(StoreKeeper& keeper, Retention retention) {
    return Value(
        Get<Retired>([&](auto done) { keeper.Retire(std::move(retention), std::move(done)); }));
  }

 private:
  template <typename T>
  static T Value(Result<T> result) {
    EXPECT_TRUE(result.has_value()) << (result ? "" : ToString(result.error()));
    return result ? std::move(*result) : T();
  }

  net::SystemClock clock_;
  std::unique_ptr<net::EventLoop> loop_;
};

inline ArchiveEntry Entry(const std::string& owner, uint64_t id,
                          const std::string& peer = "peer@example.org") {
  return {.owner = owner,
          .peer = peer,
          .id = id,
          .outgoing = id % 2 == 0,
          .origin_id = "origin-" + std::to_string(id),
          .xml = "<message><body>" + std::to_string(id) + "</body></message>",
          .resource = "phone"};
}

}  // namespace server::test
