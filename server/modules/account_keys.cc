#include "server/modules/account_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <memory>
#include <utility>

#include "net/base/check.h"

namespace server {
namespace {

constexpr size_t kSaltBytes = 16;

}  // namespace

std::optional<AccountKeys> MakeAccountKeys(std::string_view password) {
  AccountKeys keys;
  for (size_t i = 0; i < kScramHashes; ++i) {
    std::string salt(kSaltBytes, '\0');
    // Fails only where the system has no entropy; there is no safe way on.
    CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()), kSaltBytes) == 1);
    keys[i] = MakeScramKeys(static_cast<ScramHash>(i), password, salt, kScramIterations);
    if (!keys[i]) return std::nullopt;
  }
  return keys;
}

void MakeAccountKeys(ModuleGround& ground, std::string password,
                     std::move_only_function<void(std::optional<AccountKeys>)> done) {
  const auto keys = std::make_shared<std::optional<AccountKeys>>();
  auto work = [keys, password = std::move(password)]() mutable {
    *keys = MakeAccountKeys(password);
    OPENSSL_cleanse(password.data(), password.size());
  };
  auto then = [keys, done = std::move(done)]() mutable { done(std::move(*keys)); };
  if (ground.aside) return ground.aside(std::move(work), std::move(then));
  work();
  then();
}

}  // namespace server
