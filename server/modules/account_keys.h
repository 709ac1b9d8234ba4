// What is stored of a password that somebody chose: SCRAM's keys of all hashes, each with a salt of
// its own.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>

#include "server/im/iq.h"
#include "server/store/store.h"

namespace server {

using AccountKeys = std::array<std::optional<ScramKeys>, kScramHashes>;

// Takes tens of milliseconds. Nothing where SASLprep forbids the password. Thread-safe.
std::optional<AccountKeys> MakeAccountKeys(std::string_view password);

// The same, aside of the loop where there is a place for it; the password is wiped.
void MakeAccountKeys(ModuleGround& ground, std::string password,
                     std::move_only_function<void(std::optional<AccountKeys>)> done);

}  // namespace server
