#include "server/program/store_discovery.h"

#include <expected>
#include <utility>
#include <vector>

#include "net/report/log.h"

namespace server {
namespace {

class Store final : public DiscoverySource {
 public:
  Store(std::unique_ptr<StoreKeeper> keeper, std::string node)
      : keeper_(std::move(keeper)), node_(std::move(node)) {}

  // What is asked ends with the keeper: nothing of it comes behind the source's end.
  void Look(Told told) override {
    const int looked = looks_++;
    if (asked_ || (looked > kLooksOften && looked % kLooksBetween != 0)) return;
    asked_ = true;
    keeper_->ShowNode(node_, [this, told = std::move(told)](const Names& names) {
      asked_ = false;
      if (names) return told(*names);
      LOG_EVERY(std::chrono::minutes(1), net::LogLevel::kWarn, "discovery",
                "the store does not tell who is there; what it said last holds",
                {{"reason", ToString(names.error())}});
      looks_ = 0;
    });
  }

 private:
  using Names = std::expected<std::vector<std::string>, StoreError>;

  const std::unique_ptr<StoreKeeper> keeper_;
  const std::string node_;
  int looks_ = 0;
  bool asked_ = false;
};

}  // namespace

std::unique_ptr<DiscoverySource> DiscoveryStore(std::unique_ptr<StoreKeeper> keeper,
                                                std::string node) {
  return std::make_unique<Store>(std::move(keeper), std::move(node));
}

}  // namespace server
