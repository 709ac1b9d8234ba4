// Prosody's data folder (mod_storage_internal, 0.9 to 13): accounts, rosters, vCards, private XML,
// blocking lists, offline messages, archives with their preferences. What of it is not there is
// empty.
//
// Reads files, blocking; one thread at a time.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "server/transfer/user_data.h"

namespace server {

inline constexpr size_t kProsodyFileBytesMax = 512 * 1024 * 1024;

// "%" and two hex digits for what is no letter and no digit.
std::string ProsodyFileName(std::string_view text);
std::string ProsodyDecode(std::string_view file_name);

// The accounts in `folder`, as bare JIDs, sorted. The error says what is wrong with the folder.
std::expected<std::vector<std::string>, std::string> ProsodyUsers(const std::string& folder);
// The error names the file and the line; what else cannot be taken over is in `problems`.
std::expected<UserData, std::string> ReadProsodyUser(const std::string& folder,
                                                     const std::string& user);

}  // namespace server
