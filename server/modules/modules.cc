#include "server/modules/modules.h"

namespace server {

void AddModules(IqTable& table, ModuleGround& ground, const ModulesOptions& options) {
  AddArchiveQueries(table, ground, options.archive);
  AddContact(table, ground, options.contact);
  AddDisco(table, ground, options.disco);
  AddEntityTime(table, ground, options.time);
  AddLastActivity(table, ground, options.last);
  AddPing(table, ground, options.ping);
  AddPrivateStorage(table, ground, options.private_storage);
  AddRegistration(table, ground, options.registration);
  AddVcard(table, ground, options.vcard);
  AddVersion(table, ground, options.version);
}

}  // namespace server
