#include "server/program/module_options.h"

namespace server {
namespace {

constexpr double kHour = 3'600;

SignUpOptions SignUpOptionsOf(const ModulesConfig::Registration& from) {
  return {.enabled = from.sign_up,
          .per_address_and_hour = from.sign_ups_per_address * kHour,
          .password_bytes_min = from.password_bytes_min,
          .reserved = from.reserved,
          .instructions = from.instructions};
}

}  // namespace

HomeOptions HomeOptionsOf(const NodeConfig& config) {
  const ModulesConfig::Offline& offline = config.modules.offline;
  const ModulesConfig::Archive& archive = config.modules.archive;
  HomeOptions options;
  options.limits.sessions = config.limits.sessions;
  options.limits.roster_items = config.limits.roster_items;
  options.limits.blocked = config.limits.blocked;
  options.limits.directed = config.limits.directed_presence;
  options.limits.offline_messages = offline.messages_max;
  options.limits.offline_expires_s =
      std::chrono::duration_cast<std::chrono::seconds>(offline.expires).count();
  options.offline = offline.enabled;
  options.archive = static_cast<ArchiveDefault>(archive.by_default);
  if (!archive.enabled) options.archive.reset();
  return options;
}

ModulesOptions ModulesOptionsOf(const NodeConfig& config) {
  const ModulesConfig& from = config.modules;
  const ModulesConfig::Contact& contact = from.contact;
  return {.archive = {.enabled = from.archive.enabled,
                      .limits = {.page = from.archive.page, .page_max = from.archive.page_max},
                      .prefs = from.archive.prefs,
                      .by_default = static_cast<ArchiveDefault>(from.archive.by_default)},
          .contact = {.abuse = contact.abuse,
                      .admin = contact.admin,
                      .feedback = contact.feedback,
                      .sales = contact.sales,
                      .security = contact.security,
                      .status = contact.status,
                      .support = contact.support},
          .disco = {.enabled = from.disco.enabled, .name = from.disco.name},
          .time = {.enabled = from.time},
          .last = {.enabled = from.last},
          .ping = {.enabled = from.ping},
          .private_storage = {.enabled = from.private_storage.enabled,
                              .element_bytes_max = from.private_storage.element_bytes_max,
                              .elements_max = from.private_storage.elements_max},
          .registration = {.password_change = from.registration.password_change,
                           .removal = from.registration.removal,
                           .changes_per_hour = from.registration.password_changes * kHour,
                           .password_bytes_min = from.registration.password_bytes_min,
                           .sign_up = SignUpOptionsOf(from.registration)},
          .vcard = {.enabled = from.vcard.enabled, .bytes_max = from.vcard.bytes_max},
          .version = {.enabled = from.version.enabled, .show_os = from.version.show_os}};
}

HousekeeperOptions HousekeeperOptionsOf(const NodeConfig& config) {
  const ModulesConfig::Archive& archive = config.modules.archive;
  return {
      .archive_age = archive.keep, .archive_most = archive.keep_most, .every = archive.clean_every};
}

}  // namespace server
