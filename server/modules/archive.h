// Message archives (XEP-0313 with XEP-0059, XEP-0441) as their owners ask for them: pages, what
// there is at all, what is to be kept. What is kept is written elsewhere (server/im).
//
// A query's results go to the session that asked, in order, and the answer behind them.
#pragma once

#include "server/im/archive_prefs.h"
#include "server/im/iq.h"
#include "server/modules/archive_request.h"

namespace server {

struct ArchiveOptions {
  bool enabled = true;
  ArchiveLimits limits = {};
  bool prefs = true;  // accounts may choose what is kept
  ArchiveDefault by_default = ArchiveDefault::kAlways;
};
// A page ends behind so much, complete or not: a slow reader's queue is no archive.
inline constexpr size_t kArchivePageBytesMax = 1024 * 1024;

void AddArchiveQueries(IqTable& table, ModuleGround& ground, const ArchiveOptions& options);

// The archive of the call's account, for one who may read it: <query/>, <metadata/>.
void AnswerArchiveQuery(ModuleGround& ground, const ArchiveLimits& limits, IqCall call);
void AnswerArchiveMetadata(ModuleGround& ground, IqCall call);

}  // namespace server
