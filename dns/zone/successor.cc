#include "dns/zone/successor.h"

#include <unistd.h>

#include <filesystem>

namespace dns {

std::expected<Successor, std::string> MakeSuccessor(const std::string& private_path,
                                                    const Name& zone, uint32_t now,
                                                    uint32_t dnskey_ttl, uint32_t ds_timeout) {
  auto old_key = ZoneKey::FromFile(private_path, zone);
  if (!old_key) return std::unexpected(old_key.error());
  if (old_key->times.inactive || old_key->times.remove) {
    return std::unexpected(private_path +
                           ": has Inactive or Delete already: it has a successor, which is the key "
                           "to go on from");
  }
  bool sep = old_key->key->flags() != kFlagsZsk;
  Rollover plan = PlanRollover(old_key->times, sep, now, dnskey_ttl, ds_timeout);
  SigningKey made = SigningKey::Generate(zone, old_key->key->algorithm(), old_key->key->flags());
  std::string directory = std::filesystem::path(private_path).parent_path().string();
  auto path = made.Write(directory.empty() ? "." : directory, ToText(plan.successor));
  if (!path) return std::unexpected(path.error());
  if (std::string error = WriteKeyTimes(private_path, plan.predecessor); !error.empty()) {
    unlink(path->c_str());
    unlink((path->substr(0, path->size() - std::string_view("private").size()) + "key").c_str());
    return std::unexpected(error);
  }
  return Successor{{std::make_shared<const SigningKey>(std::move(made)), plan.successor, *path},
                   plan};
}

}  // namespace dns
