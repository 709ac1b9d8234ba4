#include "bench/load/xmpp/xmpp_engine.h"

namespace bench {
namespace {

constexpr std::string_view kNumber = "%d";

std::string WithNumber(std::string_view pattern, std::size_t number) {
  std::string text(pattern);
  const std::size_t at = text.find(kNumber);
  if (at != std::string::npos) text.replace(at, kNumber.size(), std::to_string(number));
  return text;
}

}  // namespace

std::expected<AccountPattern, std::string> ParseAccounts(std::string_view users,
                                                         std::string_view password,
                                                         std::size_t first, std::size_t count) {
  const std::string shown = "\"" + std::string(users) + "\"";
  const std::size_t at = users.find('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == users.size()) {
    return std::unexpected(shown + " names no accounts: write user%d@domain");
  }
  const std::string_view user = users.substr(0, at);
  const std::string_view domain = users.substr(at + 1);
  if (domain.find('@') != std::string_view::npos || domain.find('%') != std::string_view::npos ||
      domain.find_first_of("'<&") != std::string_view::npos) {
    return std::unexpected(shown + ": the domain is the same for all and has no %d");
  }
  if (count > 1 && user.find(kNumber) == std::string_view::npos) {
    return std::unexpected(shown + " is one account, " + std::to_string(count) +
                           " are needed: put a %d where their number belongs");
  }
  if (password.empty()) return std::unexpected("an account has a password: give --password");
  return AccountPattern{std::string(user), std::string(domain), std::string(password), first,
                        count};
}

Account AccountOf(const AccountPattern& pattern, std::size_t number) {
  const std::size_t at = pattern.first + number % pattern.count;
  return {WithNumber(pattern.user, at), pattern.domain, WithNumber(pattern.password, at)};
}

}  // namespace bench
