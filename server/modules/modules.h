// All the server's extensions in one list. Each is a file of this folder with its options and one
// Add…(); mongooseim.toml's [modules] has the same names.
#pragma once

#include "server/modules/archive.h"
#include "server/modules/contact.h"
#include "server/modules/disco.h"
#include "server/modules/entity_time.h"
#include "server/modules/last_activity.h"
#include "server/modules/ping.h"
#include "server/modules/private_storage.h"
#include "server/modules/registration.h"
#include "server/modules/vcard.h"
#include "server/modules/version.h"

namespace server {

struct ModulesOptions {
  ArchiveOptions archive = {};
  ContactOptions contact = {};
  DiscoOptions disco = {};
  EntityTimeOptions time = {};
  LastActivityOptions last = {};
  PingOptions ping = {};
  PrivateStorageOptions private_storage = {};
  RegistrationOptions registration = {};
  VcardOptions vcard = {};
  VersionOptions version = {};
};

// `table` and `ground` outlive what is added. One call a home.
void AddModules(IqTable& table, ModuleGround& ground, const ModulesOptions& options);

}  // namespace server
