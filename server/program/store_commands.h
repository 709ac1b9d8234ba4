// mongooseimctl's commands over the store itself, which need no node:
//
//   store migrate FROM TO       a whole store into an empty one, SQLite or PostgreSQL
//   store backup FILE           a copy of one moment (SQLite), while nodes go on
//   store restore FILE          and back, while none runs
//   import prosody DIR          accounts of another server's files
//   import xep0227 FILE|DIR
//   export xep0227 FILE
//
// They run in mongooseimctl's own process and block; progress and counts go to the terminal. A
// store is named by its URL as in store.url, relative files are the node's folder's.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "server/ctl/node_api.h"
#include "server/program/node_setup.h"

namespace server {

// The exit code; nothing where `args` is none of these commands.
std::optional<int> RunStoreCommand(std::span<const std::string> args, const NodeSetup& setup,
                                   Terminal& terminal);

}  // namespace server
