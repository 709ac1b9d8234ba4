// All users of a data folder of Prosody, one by one.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "server/transfer/prosody.h"
#include "server/transfer/user_source.h"

namespace server {

class ProsodySource final : public UserSource {
 public:
  static std::expected<std::unique_ptr<ProsodySource>, std::string> Open(std::string folder) {
    auto users = ProsodyUsers(folder);
    if (!users) return std::unexpected(users.error());
    return std::unique_ptr<ProsodySource>(new ProsodySource(std::move(folder), std::move(*users)));
  }

  // A user whose files cannot be read does not keep the next ones back.
  std::expected<std::optional<UserData>, Failure> Next() override {
    if (next_ == users_.size()) return std::nullopt;
    auto data = ReadProsodyUser(folder_, users_[next_++]);
    if (!data) return std::unexpected(Failure{.what = data.error(), .last = false});
    return std::move(*data);
  }

 private:
  ProsodySource(std::string folder, std::vector<std::string> users)
      : folder_(std::move(folder)), users_(std::move(users)) {}

  const std::string folder_;
  const std::vector<std::string> users_;
  size_t next_ = 0;
};

}  // namespace server
