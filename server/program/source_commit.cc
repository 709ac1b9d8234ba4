#include "server/program/source_commit.h"

#include "source_commit.inc"  // made by source_commit.cmake at each build

namespace server {

std::string SourceCommit() { return MONGOOSE_COMMIT; }

}  // namespace server
